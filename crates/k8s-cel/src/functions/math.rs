//! Numbers: cel-go's `ext/math.go`.

use std::cmp::Ordering;

use super::arguments::{Implementation, Table, list, mismatch};
use crate::value::{Error, Evaluated, Value, overflow};

/// What `least` and `greatest` expand to, for a number, two numbers and a list.
macro_rules! extremes {
    ($($pair:literal)*; $($single:literal)*; $($list:literal)*; $losing:expr) => {
        &[
            $(($pair, (|args| pair(args, $losing)) as Implementation),)*
            $(($single, identity as Implementation),)*
            $(($list, (|args| among(args, $losing)) as Implementation),)*
        ]
    };
}

/// The function's name, and the order in which the first of two numbers loses.
type Rule = (&'static str, Ordering);

pub(super) const LEAST: Table = extremes! {
    "math_@min_double_double" "math_@min_int_int" "math_@min_uint_uint"
    "math_@min_int_uint" "math_@min_int_double" "math_@min_double_int"
    "math_@min_double_uint" "math_@min_uint_int" "math_@min_uint_double";
    "math_@min_double" "math_@min_int" "math_@min_uint";
    "math_@min_list_double" "math_@min_list_int" "math_@min_list_uint";
    ("math.@min", Ordering::Greater)
};

pub(super) const GREATEST: Table = extremes! {
    "math_@max_double_double" "math_@max_int_int" "math_@max_uint_uint"
    "math_@max_int_uint" "math_@max_int_double" "math_@max_double_int"
    "math_@max_double_uint" "math_@max_uint_int" "math_@max_uint_double";
    "math_@max_double" "math_@max_int" "math_@max_uint";
    "math_@max_list_double" "math_@max_list_int" "math_@max_list_uint";
    ("math.@max", Ordering::Less)
};

pub(super) const TABLE: Table = &[
    ("math_ceil_double", |args| double(args).map(|value| Value::Double(value.ceil()))),
    ("math_floor_double", |args| double(args).map(|value| Value::Double(value.floor()))),
    ("math_round_double", |args| double(args).map(|value| Value::Double(value.round()))),
    ("math_trunc_double", |args| double(args).map(|value| Value::Double(value.trunc()))),
    ("math_isInf_double", |args| double(args).map(|value| Value::Bool(value.is_infinite()))),
    ("math_isNaN_double", |args| double(args).map(|value| Value::Bool(value.is_nan()))),
    ("math_isFinite_double", |args| double(args).map(|value| Value::Bool(value.is_finite()))),
    ("math_abs_double", |args| double(args).map(|value| Value::Double(value.abs()))),
    ("math_abs_int", |args| match args {
        [Value::Int(value)] => value.checked_abs().map(Value::Int).ok_or_else(|| overflow("integer")),
        _ => mismatch(),
    }),
    ("math_abs_uint", identity),
    ("math_sign_double", sign),
    ("math_sign_int", sign),
    ("math_sign_uint", sign),
    ("math_sqrt_double", sqrt),
    ("math_sqrt_int", sqrt),
    ("math_sqrt_uint", sqrt),
    ("math_bitAnd_int_int", |args| bits(args, |left, right| left & right)),
    ("math_bitAnd_uint_uint", |args| bits(args, |left, right| left & right)),
    ("math_bitOr_int_int", |args| bits(args, |left, right| left | right)),
    ("math_bitOr_uint_uint", |args| bits(args, |left, right| left | right)),
    ("math_bitXor_int_int", |args| bits(args, |left, right| left ^ right)),
    ("math_bitXor_uint_uint", |args| bits(args, |left, right| left ^ right)),
    ("math_bitNot_int_int", not),
    ("math_bitNot_uint_uint", not),
    ("math_bitShiftLeft_int_int", |args| shift(args, "math.bitShiftLeft", u64::checked_shl)),
    ("math_bitShiftLeft_uint_int", |args| shift(args, "math.bitShiftLeft", u64::checked_shl)),
    // Zeros come in from the left, also for negative numbers.
    ("math_bitShiftRight_int_int", |args| shift(args, "math.bitShiftRight", u64::checked_shr)),
    ("math_bitShiftRight_uint_int", |args| shift(args, "math.bitShiftRight", u64::checked_shr)),
];

fn identity<'a>(args: &[Value<'a>]) -> Evaluated<'a> {
    match args {
        [value] => Ok(value.clone()),
        _ => mismatch(),
    }
}

fn pair<'a>(args: &[Value<'a>], (function, losing): Rule) -> Evaluated<'a> {
    let [first, second] = args else { return mismatch() };
    let order = first.compare(second).map_err(|error| Error::new(format!("{error}: {function}")))?;
    Ok(if order == losing { second.clone() } else { first.clone() })
}

fn among<'a>(args: &[Value<'a>], (function, losing): Rule) -> Evaluated<'a> {
    // cel-go forgets what was wrong with an element.
    let no_overload = || Error::new(format!("no such overload: {function}"));
    let mut elements = list(args)?.iter();
    let Some(first) = elements.next() else {
        return Err(Error::new(format!("{function}(list) argument must not be empty")));
    };
    let mut best = first.map_err(|_| no_overload())?;
    for element in elements {
        let element = element.map_err(|_| no_overload())?;
        if best.compare(&element).map_err(|_| no_overload())? == losing {
            best = element;
        }
    }
    match best {
        Value::Int(_) | Value::Uint(_) | Value::Double(_) => Ok(best),
        _ => Err(no_overload()),
    }
}

fn double(args: &[Value<'_>]) -> Result<f64, Error> {
    match args {
        [Value::Double(value)] => Ok(*value),
        _ => Err(Error::no_such_overload()),
    }
}

fn sign<'a>(args: &[Value<'a>]) -> Evaluated<'a> {
    Ok(match args {
        [Value::Double(value)] if value.is_nan() => Value::Double(*value),
        // Also of a negative zero.
        [Value::Double(value)] if *value == 0.0 => Value::Double(0.0),
        [Value::Double(value)] => Value::Double(value.signum()),
        [Value::Int(value)] => Value::Int(value.signum()),
        [Value::Uint(value)] => Value::Uint(u64::from(*value > 0)),
        _ => return mismatch(),
    })
}

#[allow(clippy::cast_precision_loss)] // As in cel-go.
fn sqrt<'a>(args: &[Value<'a>]) -> Evaluated<'a> {
    let value = match args {
        [Value::Double(value)] => *value,
        [Value::Int(value)] => *value as f64,
        [Value::Uint(value)] => *value as f64,
        _ => return mismatch(),
    };
    Ok(Value::Double(value.sqrt()))
}

fn bits<'a>(args: &[Value<'a>], operation: fn(u64, u64) -> u64) -> Evaluated<'a> {
    match args {
        [Value::Int(left), Value::Int(right)] => {
            Ok(Value::Int(operation(left.cast_unsigned(), right.cast_unsigned()).cast_signed()))
        }
        [Value::Uint(left), Value::Uint(right)] => Ok(Value::Uint(operation(*left, *right))),
        _ => mismatch(),
    }
}

fn not<'a>(args: &[Value<'a>]) -> Evaluated<'a> {
    match args {
        [Value::Int(value)] => Ok(Value::Int(!value)),
        [Value::Uint(value)] => Ok(Value::Uint(!value)),
        _ => mismatch(),
    }
}

fn shift<'a>(args: &[Value<'a>], function: &str, operation: fn(u64, u32) -> Option<u64>) -> Evaluated<'a> {
    let [value, Value::Int(by)] = args else { return mismatch() };
    if *by < 0 {
        return Err(Error::new(format!("{function}() negative offset: {by}")));
    }
    // Nothing is left of a number that is shifted by all its digits.
    let shifted = |value| u32::try_from(*by).ok().and_then(|by| operation(value, by)).unwrap_or(0);
    match value {
        Value::Int(value) => Ok(Value::Int(shifted(value.cast_unsigned()).cast_signed())),
        Value::Uint(value) => Ok(Value::Uint(shifted(*value))),
        _ => mismatch(),
    }
}
