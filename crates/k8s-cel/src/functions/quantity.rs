//! Quantities: apiserver's `quantity.go` over apimachinery's `resource.Quantity`.

use kube_validation::{ParseQuantityError, Quantity as Amount};

use super::arguments::{Table, mismatch, text};
use crate::{
    types::Type,
    value::{Error, Evaluated, Opaque, Value},
};

pub(super) const TABLE: Table = &[
    ("string_to_quantity", |args| Quantity::parse(text(args, 0)?).map(Value::opaque)),
    ("is_quantity_string", |args| Ok(Value::Bool(Quantity::parse(text(args, 0)?).is_ok()))),
    ("quantity_sign", |args| one(args, |amount| Value::Int(amount.cmp(&Amount::from(0)) as i64))),
    ("quantity_is_greater_than", |args| two(args, |left, right| Value::Bool(left > right))),
    ("quantity_is_less_than", |args| two(args, |left, right| Value::Bool(left < right))),
    ("quantity_compare_to", |args| two(args, |left, right| Value::Int(left.cmp(right) as i64))),
    ("quantity_get_float", |args| one(args, |amount| Value::Double(amount.to_f64()))),
    ("quantity_get_int", |args| match args {
        [value] => match value.downcast::<Quantity>() {
            Some(quantity) => {
                let integer = quantity.amount.to_i64().map(Value::Int);
                integer.ok_or_else(|| Error::new("cannot convert value to integer"))
            }
            None => mismatch(),
        },
        _ => mismatch(),
    }),
    ("quantity_is_integer", |args| one(args, |amount| Value::Bool(amount.to_i64().is_some()))),
    ("quantity_add", |args| sum(args, Amount::checked_add)),
    ("quantity_add_int", |args| sum(args, Amount::checked_add)),
    ("quantity_sub", |args| sum(args, Amount::checked_sub)),
    ("quantity_sub_int", |args| sum(args, Amount::checked_sub)),
];

/// An amount in an expression.
#[derive(Debug)]
struct Quantity {
    amount: Amount,
    /// The text that it was read from. `None` for a sum, with which nothing can be compared in kube-apiserver: it is a pointer
    /// there.
    text: Option<String>,
}

impl Quantity {
    fn parse(text: &str) -> Result<Self, Error> {
        let amount = text.parse().map_err(|error: ParseQuantityError| Error::new(error.to_string()))?;
        Ok(Self { amount, text: Some(text.to_owned()) })
    }
}

impl Opaque for Quantity {
    fn type_of(&self) -> Type {
        Type::object("kubernetes.Quantity")
    }

    fn equal(&self, other: &Value<'_>) -> Result<bool, Error> {
        let other = other
            .downcast::<Self>()
            .filter(|other| other.text.is_some())
            .ok_or_else(Error::no_such_overload)?;
        Ok(self.amount == other.amount)
    }

    fn display(&self) -> String {
        let stored = self.text.as_deref().and_then(|text| Amount::canonicalize(text).ok());
        stored.unwrap_or_else(|| self.amount.to_string())
    }
}

fn one<'a>(args: &[Value<'a>], compute: impl Fn(&Amount) -> Value<'a>) -> Evaluated<'a> {
    match args {
        [value] => {
            value.downcast::<Quantity>().map_or_else(mismatch, |quantity| Ok(compute(&quantity.amount)))
        }
        _ => mismatch(),
    }
}

fn two<'a>(args: &[Value<'a>], compute: impl Fn(&Amount, &Amount) -> Value<'a>) -> Evaluated<'a> {
    match args {
        [left, right] => match (left.downcast::<Quantity>(), right.downcast::<Quantity>()) {
            (Some(left), Some(right)) => Ok(compute(&left.amount, &right.amount)),
            _ => mismatch(),
        },
        _ => mismatch(),
    }
}

/// Adds the second argument, or subtracts it.
fn sum<'a>(args: &[Value<'a>], plus: fn(Amount, Amount) -> Option<Amount>) -> Evaluated<'a> {
    let [left, right] = args else { return mismatch() };
    let right = match right {
        Value::Int(value) => Some(Amount::with_exponent(*value)),
        other => other.downcast::<Quantity>().map(|quantity| quantity.amount),
    };
    let (Some(left), Some(right)) = (left.downcast::<Quantity>(), right) else { return mismatch() };
    let amount = plus(left.amount, right).ok_or_else(|| Error::new("quantity overflow"))?;
    Ok(Value::opaque(Quantity { amount, text: None }))
}
