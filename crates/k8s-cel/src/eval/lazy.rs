//! Values that are computed when an expression asks for them: apiserver's `pkg/cel/lazy`.

use crate::{
    types::Type,
    value::{Error, Evaluated, Opaque, Value},
};

/// Knows the fields of the variable that [`composed`] is the value of.
pub(crate) trait Lazy<'a> {
    /// The value of a field, which is computed once; `None` if there is no such field.
    fn get(&mut self, name: &str) -> Option<Evaluated<'a>>;
}

/// The value of a variable whose fields are lazy, with the name of its type.
pub(crate) fn composed<'a>(type_name: &'static str) -> Value<'a> {
    Value::opaque(Composed(type_name))
}

#[derive(Debug)]
pub(super) struct Composed(&'static str);

impl Opaque for Composed {
    fn type_of(&self) -> Type {
        Type::object(self.0)
    }

    fn equal(&self, other: &Value<'_>) -> Result<bool, Error> {
        other.downcast::<Self>().map(|_| true).ok_or_else(Error::no_such_overload)
    }

    fn go_type(&self) -> &'static str {
        "*lazy.MapValue"
    }
}
