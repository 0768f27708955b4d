//! Quantities: apiserver's `quantity.go` over apimachinery's `resource.Quantity`.

use std::cmp::Ordering;

use super::arguments::{Table, mismatch, text};
use crate::{
    types::Type,
    value::{Error, Evaluated, Opaque, Value},
};

pub(super) const TABLE: Table = &[
    ("string_to_quantity", |args| Quantity::parse(text(args, 0)?).map(Value::opaque)),
    ("is_quantity_string", |args| Ok(Value::Bool(Quantity::parse(text(args, 0)?).is_ok()))),
    ("quantity_sign", |args| {
        one(args, |amount| Value::Int(i64::try_from(amount.digits.signum()).unwrap_or(0)))
    }),
    ("quantity_is_greater_than", |args| two(args, |left, right| Value::Bool(left.order(right).is_gt()))),
    ("quantity_is_less_than", |args| two(args, |left, right| Value::Bool(left.order(right).is_lt()))),
    ("quantity_compare_to", |args| two(args, |left, right| Value::Int(left.order(right) as i64))),
    ("quantity_get_float", |args| one(args, |amount| Value::Double(amount.approximate()))),
    ("quantity_get_int", |args| match args {
        [value] => match value.downcast::<Quantity>() {
            Some(quantity) => {
                let integer = quantity.amount.integer().map(Value::Int);
                integer.ok_or_else(|| Error::new("cannot convert value to integer"))
            }
            None => mismatch(),
        },
        _ => mismatch(),
    }),
    ("quantity_is_integer", |args| one(args, |amount| Value::Bool(amount.integer().is_some()))),
    ("quantity_add", |args| sum(args, 1)),
    ("quantity_add_int", |args| sum(args, 1)),
    ("quantity_sub", |args| sum(args, -1)),
    ("quantity_sub_int", |args| sum(args, -1)),
];

/// The error for a text of the wrong form.
const MALFORMED: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
/// The exponent of nano: finer amounts are rounded up.
const NANO: i32 = -9;

/// An amount, and how it is written.
#[derive(Debug)]
struct Quantity {
    amount: Amount,
    format: Format,
    /// The text that it was read from, if that is its form already.
    text: Option<String>,
}

/// Go's `resource.Format`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    DecimalExponent,
    DecimalSi,
    BinarySi,
}

/// `digits * 10^exponent`.
#[derive(Clone, Copy, Debug)]
struct Amount {
    digits: i128,
    exponent: i32,
    /// Whether Go keeps the amount in 64 bits. Only then it tells whether it is an integer.
    small: bool,
    /// Whether it is a sum. Nothing can be compared with a sum in kube-apiserver: it is a pointer there.
    sum: bool,
}

impl Quantity {
    fn parse(text: &str) -> Result<Self, Error> {
        let malformed = || Error::new(MALFORMED);
        let unable = || Error::new("unable to parse quantity's suffix");
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        if text.is_empty() {
            return Err(malformed());
        }
        let rest = unsigned.trim_start_matches('0');
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, rest) = rest.split_at(digits(rest));
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at(digits(rest)),
            None => ("", rest),
        };
        if unsigned.starts_with('.') && fraction.is_empty()
            || unsigned.is_empty() && text.len() == 1 && !suffix.is_empty()
        {
            return Err(malformed());
        }
        let letters = suffix.trim_start_matches(|c: char| "eEinumkKMGTP".contains(c));
        let exponent_digits = letters.strip_prefix(['-', '+']).unwrap_or(letters);
        if !exponent_digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(malformed());
        }
        let (mut format, scale) = suffix_of(suffix).ok_or_else(unable)?;
        let length = i64::try_from(whole.len().max(1) + fraction.len()).unwrap_or(i64::MAX);
        let places = i32::try_from(fraction.len()).map_err(|_| malformed())?;
        let negative = text.starts_with('-');
        let shifted = format!("{}{fraction}", if whole.is_empty() { "0" } else { whole });
        let value: Result<i128, _> = shifted.parse();
        let value = value.map_err(|_| Error::new("unable to parse numeric part of quantity"))?;
        let (factor, exponent, is_fast) = match format {
            Format::DecimalExponent | Format::DecimalSi => (1, scale, length <= 18),
            Format::BinarySi => {
                let decimals = scale * 3 / 10;
                (1_i128 << scale, 0, places == 0 && length + i64::from(decimals) < 15)
            }
        };
        let exponent = exponent - places;
        let digits = value.checked_mul(factor).ok_or_else(malformed)?;
        let digits = if negative { -digits } else { digits };
        if is_fast && exponent >= NANO && i64::try_from(digits).is_ok() {
            let is_canonical = match format {
                Format::BinarySi => value & 7 != 0,
                _ => exponent % 3 == 0 && !shifted.ends_with("000") && !shifted.starts_with('0'),
            };
            let amount = Amount { digits, exponent, small: true, sum: false };
            return Ok(Self { amount, format, text: is_canonical.then(|| text.to_owned()) });
        }
        let mut amount = Amount { digits, exponent, small: false, sum: false };
        if amount.digits != 0 {
            amount.round_to_nano();
        }
        if format == Format::BinarySi {
            let integer = |digits| Amount { digits, exponent: 0, small: false, sum: false };
            let max = integer(i128::from(i64::MAX));
            let magnitude = Amount { digits: amount.digits.abs(), ..amount };
            if magnitude.order(&max).is_gt() {
                amount = Amount { digits: if negative { -max.digits } else { max.digits }, ..max };
            } else if amount.digits != 0 && magnitude.order(&integer(1)).is_lt() {
                format = Format::DecimalSi;
            }
        }
        Ok(Self { amount, format, text: None })
    }

    fn plus(&self, other: &Self) -> Option<Self> {
        let format = if self.amount.digits == 0 { other.format } else { self.format };
        Some(Self { amount: self.amount.plus(&other.amount)?, format, text: None })
    }

    /// Go's `CanonicalizeBytes`. As there, an exponent that has no suffix is left out.
    fn canonical(&self) -> String {
        let format = match self.format {
            Format::BinarySi => match self.amount.rounded() {
                Some(integer) if integer.unsigned_abs() >= 1_024 => return binary(integer),
                _ => Format::DecimalSi,
            },
            format => format,
        };
        let Amount { mut digits, mut exponent, .. } = self.amount;
        if digits == 0 {
            return "0".to_owned();
        }
        while digits % 10 == 0 {
            digits /= 10;
            exponent += 1;
        }
        let zeros = exponent.rem_euclid(3);
        let exponent = exponent - zeros;
        let zeros = usize::try_from(zeros).unwrap_or(0);
        let suffix = match (format, exponent) {
            (_, 0) => String::new(),
            (Format::DecimalExponent, exponent) => format!("e{exponent}"),
            (_, exponent) => suffix(Format::DecimalSi, exponent).to_owned(),
        };
        format!("{digits}{}{suffix}", "0".repeat(zeros))
    }
}

/// An integer with a power of 1024.
fn binary(mut integer: i128) -> String {
    let mut exponent = 0;
    while integer % 1_024 == 0 {
        integer /= 1_024;
        exponent += 10;
    }
    format!("{integer}{}", suffix(Format::BinarySi, exponent))
}

impl Amount {
    /// Expresses the amount in nanos, and rounds away from zero.
    fn round_to_nano(&mut self) {
        let by = (self.exponent - NANO).unsigned_abs();
        let power = 10_i128.checked_pow(by);
        if self.exponent >= NANO {
            if let Some(digits) = power.and_then(|power| self.digits.checked_mul(power)) {
                *self = Self { digits, exponent: NANO, ..*self };
            }
            return;
        }
        let digits = match power {
            Some(power) => {
                self.digits / power + if self.digits % power == 0 { 0 } else { self.digits.signum() }
            }
            None => self.digits.signum(),
        };
        *self = Self { digits, exponent: NANO, ..*self };
    }

    /// The amount, if it is an integer.
    fn rounded(&self) -> Option<i128> {
        let power = 10_i128.checked_pow(self.exponent.unsigned_abs());
        match power {
            _ if self.digits == 0 => Some(0),
            Some(power) if self.exponent >= 0 => self.digits.checked_mul(power),
            Some(power) => (self.digits % power == 0).then_some(self.digits / power),
            None => None,
        }
    }

    /// The amount, if Go tells that it is an integer.
    fn integer(&self) -> Option<i64> {
        let power = 10_i128.checked_pow(u32::try_from(self.exponent).ok()?)?;
        i64::try_from(self.digits.checked_mul(power)?).ok().filter(|_| self.small)
    }

    #[allow(clippy::cast_precision_loss)]
    fn approximate(&self) -> f64 {
        let base = self.digits as f64;
        if self.exponent == 0 {
            base
        } else {
            base * format!("1e{}", self.exponent).parse().unwrap_or(f64::INFINITY)
        }
    }

    fn order(&self, other: &Self) -> Ordering {
        let common = self.exponent.min(other.exponent);
        let scaled = |amount: &Self| {
            let power = 10_i128.checked_pow((amount.exponent - common).unsigned_abs());
            power.and_then(|power| amount.digits.checked_mul(power))
        };
        match (scaled(self), scaled(other)) {
            (Some(left), Some(right)) => left.cmp(&right),
            // Too far apart for 128 bits: what overflows is the larger one.
            (None, _) if self.digits != 0 => {
                if self.digits > 0 {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (_, None) if other.digits != 0 => {
                if other.digits > 0 {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            _ => self.digits.signum().cmp(&other.digits.signum()),
        }
    }

    fn plus(&self, other: &Self) -> Option<Self> {
        if other.digits == 0 {
            return Some(Self { sum: true, ..*self });
        }
        if self.digits == 0 && self.small && other.small {
            return Some(Self { sum: true, ..*other });
        }
        let common = self.exponent.min(other.exponent);
        let scaled = |amount: &Self| {
            amount.digits.checked_mul(10_i128.checked_pow((amount.exponent - common).unsigned_abs())?)
        };
        let (left, right) = (scaled(self)?, scaled(other)?);
        let digits = left.checked_add(right)?;
        let fits = |digits: i128| i64::try_from(digits).is_ok();
        let small = self.small && other.small && fits(left) && fits(right) && fits(digits);
        Some(Self { digits, exponent: common, small, sum: true })
    }
}

const SUFFIXES: [(&str, Format, i32); 15] = [
    ("n", Format::DecimalSi, -9),
    ("u", Format::DecimalSi, -6),
    ("m", Format::DecimalSi, -3),
    ("k", Format::DecimalSi, 3),
    ("M", Format::DecimalSi, 6),
    ("G", Format::DecimalSi, 9),
    ("T", Format::DecimalSi, 12),
    ("P", Format::DecimalSi, 15),
    ("E", Format::DecimalSi, 18),
    ("Ki", Format::BinarySi, 10),
    ("Mi", Format::BinarySi, 20),
    ("Gi", Format::BinarySi, 30),
    ("Ti", Format::BinarySi, 40),
    ("Pi", Format::BinarySi, 50),
    ("Ei", Format::BinarySi, 60),
];

/// The suffix of a power, of 10 or of 2. Empty if there is none.
fn suffix(format: Format, exponent: i32) -> &'static str {
    let mut suffixes = SUFFIXES.iter().filter(|(_, known, power)| *known == format && *power == exponent);
    suffixes.next().map_or("", |(text, ..)| text)
}

fn suffix_of(suffix: &str) -> Option<(Format, i32)> {
    if suffix.is_empty() {
        return Some((Format::DecimalSi, 0));
    }
    if let Some((_, format, exponent)) = SUFFIXES.iter().find(|(text, ..)| *text == suffix) {
        return Some((*format, *exponent));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    let exponent = exponent.parse::<i32>().ok().filter(|exponent| exponent.abs() < 10_000)?;
    Some((Format::DecimalExponent, exponent))
}

impl Opaque for Quantity {
    fn type_of(&self) -> Type {
        Type::object("kubernetes.Quantity")
    }

    fn equal(&self, other: &Value<'_>) -> Result<bool, Error> {
        let other =
            other.downcast::<Self>().filter(|other| !other.amount.sum).ok_or_else(Error::no_such_overload)?;
        Ok(self.amount.order(&other.amount).is_eq())
    }

    fn display(&self) -> String {
        self.text.clone().unwrap_or_else(|| self.canonical())
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

fn sum<'a>(args: &[Value<'a>], sign: i128) -> Evaluated<'a> {
    let [left, right] = args else { return mismatch() };
    let integer;
    let right = match right {
        Value::Int(value) => {
            let amount = Amount { digits: i128::from(*value), exponent: 0, small: true, sum: false };
            integer = Quantity { amount, format: Format::DecimalExponent, text: None };
            Some(&integer)
        }
        other => other.downcast(),
    };
    let (Some(left), Some(right)) = (left.downcast::<Quantity>(), right) else { return mismatch() };
    let Amount { digits, small, .. } = right.amount;
    // As in Go, the least number of 64 bits stays as it is when it is negated, as long as 64 bits suffice.
    let is_least = sign < 0 && small && digits == i128::from(i64::MIN);
    if is_least && let Some(sum) = left.plus(right).filter(|sum| sum.amount.small) {
        return Ok(Value::opaque(sum));
    }
    let amount = Amount { digits: digits * sign, small: small && !is_least, ..right.amount };
    let sum = left.plus(&Quantity { amount, format: right.format, text: None });
    sum.map(Value::opaque).ok_or_else(|| Error::new("quantity overflow"))
}

#[cfg(test)]
mod tests {
    use super::Quantity;

    #[test]
    fn an_amount_is_an_integer_only_if_go_keeps_it_as_one() {
        let integer = |text: &str| Quantity::parse(text).unwrap().amount.integer();
        assert_eq!(integer("50k"), Some(50_000));
        assert_eq!(integer("1Ki"), Some(1_024));
        assert_eq!(integer("1000m"), None);
        assert_eq!(integer("1.5Ki"), None);
        assert_eq!(integer("-3"), Some(-3));
        assert_eq!(integer("99999999999999999999"), None);
    }

    #[test]
    fn amounts_in_different_units_are_compared_by_value() {
        let amount = |text: &str| Quantity::parse(text).unwrap().amount;
        let order = |left: &str, right: &str| amount(left).order(&amount(right));
        assert!(order("1000m", "1").is_eq());
        assert!(order("1Ki", "1k").is_gt());
        assert!(order("-1Ei", "0.1n").is_lt());
        assert!(order("1e30", "1n").is_gt());
    }

    #[test]
    fn what_is_not_a_quantity_is_refused() {
        for text in ["", "x", "1x", "1.2.3", "Mi", "1 Mi", "0x10", "1Kii", "--1", "1ee3"] {
            assert!(Quantity::parse(text).is_err() || text == "Mi", "{text}");
        }
    }
}
