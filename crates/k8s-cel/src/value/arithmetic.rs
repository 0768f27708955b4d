//! `+`, `-`, `*`, `/`, `%`: checked, as in cel-go's `common/types/overflow.go`.

use super::{Error, Evaluated, Timestamp, Value, overflow};

const SECOND: i64 = 1_000_000_000;
/// The years 1 to 9999, in seconds since 1970.
pub(crate) const SECONDS_MIN: i64 = -62_135_596_800;
pub(crate) const SECONDS_MAX: i64 = 253_402_300_799;

fn int(value: Option<i64>) -> Evaluated<'static> {
    value.map(Value::Int).ok_or_else(|| overflow("integer"))
}

fn uint(value: Option<u64>) -> Evaluated<'static> {
    value.map(Value::Uint).ok_or_else(|| overflow("unsigned integer"))
}

fn duration(value: Option<i64>) -> Evaluated<'static> {
    value.map(Value::Duration).ok_or_else(|| overflow("integer"))
}

impl<'a> Value<'a> {
    /// `function`: the name of the operator, for errors.
    pub(crate) fn add(self, other: Self, function: &str) -> Evaluated<'a> {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => int(left.checked_add(right)),
            (Self::Uint(left), Self::Uint(right)) => uint(left.checked_add(right)),
            (Self::Double(left), Self::Double(right)) => Ok(Self::Double(left + right)),
            (Self::String(left), Self::String(right)) => {
                let mut text = String::with_capacity(left.len() + right.len());
                text.push_str(&left);
                text.push_str(&right);
                Ok(Self::string(text))
            }
            (Self::Bytes(left), Self::Bytes(right)) => Ok(Self::Bytes([&*left, &*right].concat().into())),
            (Self::List(left), Self::List(right)) => left.add(&right),
            (Self::Duration(left), Self::Duration(right)) => duration(left.checked_add(right)),
            (Self::Timestamp(time), Self::Duration(nanos))
            | (Self::Duration(nanos), Self::Timestamp(time)) => time.plus(nanos).map(Self::Timestamp),
            (left, _) => Err(no_overload(
                &left,
                function,
                matches!(
                    left,
                    Self::Int(_)
                        | Self::Uint(_)
                        | Self::Double(_)
                        | Self::String(_)
                        | Self::Bytes(_)
                        | Self::List(_)
                        | Self::Duration(_)
                        | Self::Timestamp(_)
                ),
            )),
        }
    }

    pub(crate) fn subtract(self, other: &Self, function: &str) -> Evaluated<'a> {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => int(left.checked_sub(*right)),
            (Self::Uint(left), Self::Uint(right)) => uint(left.checked_sub(*right)),
            (Self::Double(left), Self::Double(right)) => Ok(Self::Double(left - right)),
            (Self::Duration(left), Self::Duration(right)) => duration(left.checked_sub(*right)),
            (Self::Timestamp(time), Self::Duration(nanos)) => {
                let nanos = nanos.checked_neg().ok_or_else(|| overflow("integer"))?;
                time.plus(nanos).map(Self::Timestamp)
            }
            (Self::Timestamp(left), Self::Timestamp(right)) => {
                let seconds =
                    left.seconds.checked_sub(right.seconds).and_then(|seconds| seconds.checked_mul(SECOND));
                let nanos = i64::from(left.nanos) - i64::from(right.nanos);
                duration(seconds.and_then(|seconds| seconds.checked_add(nanos)))
            }
            (left, _) => Err(no_overload(
                &left,
                function,
                matches!(
                    left,
                    Self::Int(_) | Self::Uint(_) | Self::Double(_) | Self::Duration(_) | Self::Timestamp(_)
                ),
            )),
        }
    }

    pub(crate) fn multiply(self, other: &Self, function: &str) -> Evaluated<'a> {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => int(left.checked_mul(*right)),
            (Self::Uint(left), Self::Uint(right)) => uint(left.checked_mul(*right)),
            (Self::Double(left), Self::Double(right)) => Ok(Self::Double(left * right)),
            (left, _) => {
                let is_number = matches!(left, Self::Int(_) | Self::Uint(_) | Self::Double(_));
                Err(no_overload(&left, function, is_number))
            }
        }
    }

    pub(crate) fn divide(self, other: &Self, function: &str) -> Evaluated<'a> {
        match (self, other) {
            (Self::Int(_), Self::Int(0)) | (Self::Uint(_), Self::Uint(0)) => {
                Err(Error::new("division by zero"))
            }
            (Self::Int(left), Self::Int(right)) => int(left.checked_div(*right)),
            (Self::Uint(left), Self::Uint(right)) => uint(left.checked_div(*right)),
            (Self::Double(left), Self::Double(right)) => Ok(Self::Double(left / right)),
            (left, _) => {
                let is_number = matches!(left, Self::Int(_) | Self::Uint(_) | Self::Double(_));
                Err(no_overload(&left, function, is_number))
            }
        }
    }

    pub(crate) fn modulo(self, other: &Self, function: &str) -> Evaluated<'a> {
        match (self, other) {
            (Self::Int(_), Self::Int(0)) | (Self::Uint(_), Self::Uint(0)) => {
                Err(Error::new("modulus by zero"))
            }
            (Self::Int(left), Self::Int(right)) => int(left.checked_rem(*right)),
            (Self::Uint(left), Self::Uint(right)) => uint(left.checked_rem(*right)),
            (left, _) => {
                let is_integer = matches!(left, Self::Int(_) | Self::Uint(_));
                Err(no_overload(&left, function, is_integer))
            }
        }
    }

    pub(crate) fn negate(self, function: &str) -> Evaluated<'a> {
        match self {
            Self::Int(value) => int(value.checked_neg()),
            Self::Double(value) => Ok(Self::Double(-value)),
            Self::Duration(value) => duration(value.checked_neg()),
            other => Err(no_overload(&other, function, matches!(other, Self::Bool(_)))),
        }
    }
}

/// The error for operands that an operator does not take. cel-go names the operator if the left one does not have it at all.
fn no_overload(left: &Value<'_>, function: &str, has_operator: bool) -> Error {
    // Strings, durations and timestamps receive what they do not have as a method, which they do not have either.
    if has_operator || matches!(left, Value::String(_) | Value::Duration(_) | Value::Timestamp(_)) {
        Error::no_such_overload()
    } else {
        Error::new(format!("no such overload: {function}"))
    }
}

impl Timestamp {
    fn plus(self, nanos: i64) -> Result<Self, Error> {
        let sum = i64::from(self.nanos) + nanos % SECOND;
        let carry = nanos / SECOND + sum.div_euclid(SECOND);
        let seconds = self.seconds.checked_add(carry).ok_or_else(|| overflow("integer"))?;
        if !(SECONDS_MIN..=SECONDS_MAX).contains(&seconds) {
            return Err(overflow("timestamp"));
        }
        Ok(Self { seconds, nanos: u32::try_from(sum.rem_euclid(SECOND)).unwrap_or(0), offset: self.offset })
    }
}
