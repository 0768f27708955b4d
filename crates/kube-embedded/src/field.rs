//! Validation errors at fields, worded as apimachinery's `field.Error`.

/// What is wrong with a field: the `reason` of a cause in a `Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// `FieldValueRequired`
    Required,
    /// `FieldValueInvalid`
    Invalid,
    /// `FieldValueTypeInvalid`
    TypeInvalid,
    /// `FieldValueNotSupported`
    NotSupported,
    /// `FieldValueDuplicate`
    Duplicate,
    /// `FieldValueForbidden`
    Forbidden,
    /// `FieldValueTooLong`
    TooLong,
    /// `FieldValueTooMany`
    TooMany,
    /// `FieldValueNotFound`
    NotFound,
    /// `InternalError`
    Internal,
}

/// One error at one field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FieldError {
    /// What is wrong.
    pub(crate) reason: Reason,
    /// Where, as `spec.items[0].name`; `<nil>` for the root of an object.
    pub(crate) field: String,
    /// Without the field: `Invalid value: "x": must be ...`, `Required value`.
    pub(crate) message: String,
}
