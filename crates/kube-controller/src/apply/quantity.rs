//! Quantities, which the server rewrites: `1000m` as `1`, `1024Mi` as `1Gi`.

/// Returns whether two texts are quantities of the same amount. `false` if one of them is none, or finer than a
/// billionth, which the server would round.
pub(super) fn same(a: &str, b: &str) -> bool {
    matches!((parse(a), parse(b)), (Some(a), Some(b)) if a == b)
}

/// Returns the amount in billionths.
fn parse(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(digits.len());
    let (number, suffix) = digits.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let mantissa: i128 = format!("0{whole}{fraction}").parse().ok()?;
    let (factor, exponent) = suffix_of(suffix)?;
    let exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?.checked_add(9)?;
    let amount = mantissa.checked_mul(factor)?;
    let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
    let amount = if exponent >= 0 {
        amount.checked_mul(power)?
    } else if amount % power == 0 {
        amount / power
    } else {
        return None;
    };
    Some(if negative { -amount } else { amount })
}

/// Returns a factor and a power of ten.
fn suffix_of(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "" => (1, 0),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => (1, suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_compared_and_not_texts() {
        let equal = [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1e3", "1k"),
            ("1E", "1e18"),
            ("+1.50", "1500m"),
        ];
        for (a, b) in equal {
            assert!(same(a, b) && same(b, a), "{a} {b}");
        }
        for (a, b) in [("1", "2"), ("1k", "1Ki"), ("-1", "1"), ("100M", "100m"), ("1", "1.0000000001")] {
            assert!(!same(a, b) && !same(b, a), "{a} {b}");
        }
    }

    #[test]
    fn what_is_no_quantity_equals_nothing() {
        for text in [
            "",
            "-",
            ".",
            "a",
            "1.2.3",
            "1x",
            "1 ",
            "e3",
            "1e99",
            "99999999999999999999999999999999999999999",
        ] {
            assert!(!same(text, text), "{text}");
        }
    }
}
