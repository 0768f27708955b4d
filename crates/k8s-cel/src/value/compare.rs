//! Equality and order: `common/types/compare.go` and the `Equal` and `Compare` methods of cel-go's types.

use std::cmp::Ordering;

use super::{Error, VISIT, Value, work};

impl Value<'_> {
    /// `self == other`: numbers of different types can be equal, null equals null only.
    pub(crate) fn equal(&self, other: &Self) -> Result<bool, Error> {
        match (self, other) {
            (Self::Null, Self::Null) => Ok(true),
            (Self::Null, _) | (_, Self::Null) => Ok(false),
            _ => self.equal_strictly(other),
        }
    }

    /// The same without the rule for null: an object and null cannot be compared.
    pub(super) fn equal_strictly(&self, other: &Self) -> Result<bool, Error> {
        match (self, other) {
            (Self::String(left), Self::String(right)) if left.len() == right.len() => work(left.len() / 8)?,
            (Self::Bytes(left), Self::Bytes(right)) if left.len() == right.len() => work(left.len() / 8)?,
            (Self::List(_) | Self::Map(_) | Self::Optional(_), _) => work(VISIT)?,
            _ => {}
        }
        Ok(match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(left), Self::Bool(right)) => left == right,
            (Self::String(left), Self::String(right)) => **left == **right,
            (Self::Bytes(left), Self::Bytes(right)) => **left == **right,
            (Self::Duration(left), Self::Duration(right)) => left == right,
            (Self::Timestamp(left), Self::Timestamp(right)) => {
                (left.seconds, left.nanos) == (right.seconds, right.nanos)
            }
            (Self::Type(left), Self::Type(right)) => left.name() == right.name(),
            (Self::List(left), Self::List(right)) => return left.equal(right),
            (Self::Map(left), Self::Map(right)) => return left.equal(right),
            // Lists and objects of a schema refuse to be compared with something else.
            (Self::List(list), _) if list.is_typed() => return Err(Error::no_such_overload()),
            (Self::Map(map), _) if map.is_typed() => return Err(Error::no_such_overload()),
            (Self::Optional(left), Self::Optional(right)) => match (left, right) {
                (Some(left), Some(right)) => return left.equal_strictly(right),
                (left, right) => left.is_none() && right.is_none(),
            },
            (Self::Object(left), Self::Object(right)) => return left.equal(right),
            (Self::Opaque(left), right) => return left.equal(right),
            (left, right) => matches!(number_order(left, right), Some(Some(Ordering::Equal))),
        })
    }

    /// Whether values of this type are in an order: whether cel-go gives them the trait `ComparerType`.
    pub(crate) fn has_order(&self) -> bool {
        !matches!(
            self,
            Self::Null
                | Self::List(_)
                | Self::Map(_)
                | Self::Optional(_)
                | Self::Type(_)
                | Self::Object(_)
                | Self::Opaque(_)
        )
    }

    /// The order of two values, for `<` and its siblings.
    pub(crate) fn compare(&self, other: &Self) -> Result<Ordering, Error> {
        if let Some(order) = number_order(self, other) {
            return order.ok_or_else(|| Error::new("NaN values cannot be ordered"));
        }
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => Ok(left.cmp(right)),
            (Self::String(left), Self::String(right)) => Ok(left.cmp(right)),
            (Self::Bytes(left), Self::Bytes(right)) => Ok(left.cmp(right)),
            (Self::Duration(left), Self::Duration(right)) => Ok(left.cmp(right)),
            (Self::Timestamp(left), Self::Timestamp(right)) => {
                Ok((left.seconds, left.nanos).cmp(&(right.seconds, right.nanos)))
            }
            (Self::Double(value), _) if value.is_nan() => Err(Error::new("NaN values cannot be ordered")),
            _ => Err(Error::no_such_overload()),
        }
    }
}

/// The order of two numbers, exact where the types differ. `None` if one is not a number, `Some(None)` if one is not ordered.
#[allow(clippy::cast_precision_loss)] // As in cel-go: a double is compared with the nearest double of an integer.
fn number_order(left: &Value<'_>, right: &Value<'_>) -> Option<Option<Ordering>> {
    Some(match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Uint(left), Value::Uint(right)) => Some(left.cmp(right)),
        (Value::Double(left), Value::Double(right)) => left.partial_cmp(right),
        (Value::Int(left), Value::Uint(right)) => Some(i128::from(*left).cmp(&i128::from(*right))),
        (Value::Uint(left), Value::Int(right)) => Some(i128::from(*left).cmp(&i128::from(*right))),
        (Value::Double(left), Value::Int(right)) => double_int(*left, *right),
        (Value::Int(left), Value::Double(right)) => double_int(*right, *left).map(Ordering::reverse),
        (Value::Double(left), Value::Uint(right)) => double_uint(*left, *right),
        (Value::Uint(left), Value::Double(right)) => double_uint(*right, *left).map(Ordering::reverse),
        _ => return None,
    })
}

#[allow(clippy::cast_precision_loss)]
fn double_int(double: f64, int: i64) -> Option<Ordering> {
    if double < i64::MIN as f64 {
        Some(Ordering::Less)
    } else if double > i64::MAX as f64 {
        Some(Ordering::Greater)
    } else {
        double.partial_cmp(&(int as f64))
    }
}

#[allow(clippy::cast_precision_loss)]
fn double_uint(double: f64, uint: u64) -> Option<Ordering> {
    if double < 0.0 {
        Some(Ordering::Less)
    } else if double > u64::MAX as f64 {
        Some(Ordering::Greater)
    } else {
        double.partial_cmp(&(uint as f64))
    }
}
