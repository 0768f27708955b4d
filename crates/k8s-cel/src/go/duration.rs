//! Durations in nanoseconds: Go's `time.Duration`.

/// `time.ParseDuration`: such as `1h30m`, `-1.5h`, `300ms`.
///
/// # Errors
/// Fails with Go's text.
pub(crate) fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", kube_validation::go::quote(text));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let limit: u64 = 1 << 63;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let whole_digits = digits(rest);
        let whole: u64 = match &rest[..whole_digits] {
            "" => 0,
            number => number.parse().ok().filter(|whole| *whole <= limit).ok_or_else(invalid)?,
        };
        rest = &rest[whole_digits..];
        let mut fraction = "";
        if let Some(after) = rest.strip_prefix('.') {
            fraction = &after[..digits(after)];
            rest = &after[fraction.len()..];
        }
        if whole_digits == 0 && fraction.is_empty() {
            return Err(invalid());
        }
        let unit_length = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, after) = rest.split_at(unit_length);
        rest = after;
        let scale: u64 = match unit {
            "" => return Err(format!("time: missing unit in duration {}", kube_validation::go::quote(text))),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => {
                let (unit, text) = (kube_validation::go::quote(unit), kube_validation::go::quote(text));
                return Err(format!("time: unknown unit {unit} in duration {text}"));
            }
        };
        let nanos = whole.checked_mul(scale).filter(|nanos| *nanos <= limit).ok_or_else(invalid)?;
        let nanos = nanos + fraction_of(fraction, scale);
        total =
            total.checked_add(nanos).filter(|total| nanos <= limit && *total <= limit).ok_or_else(invalid)?;
    }
    match (negative, i64::try_from(total)) {
        (true, Ok(total)) => Ok(-total),
        (false, Ok(total)) => Ok(total),
        (true, Err(_)) => Ok(i64::MIN),
        (false, Err(_)) => Err(invalid()),
    }
}

/// A decimal fraction of a unit, in nanoseconds. Digits that 63 bits cannot hold are ignored, as in Go.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn fraction_of(digits: &str, scale: u64) -> u64 {
    let (mut value, mut divisor): (u64, f64) = (0, 1.0);
    for digit in digits.bytes() {
        if value > (u64::MAX >> 1) / 10 {
            break;
        }
        let next = value * 10 + u64::from(digit - b'0');
        if next > 1 << 63 {
            break;
        }
        value = next;
        divisor *= 10.0;
    }
    (value as f64 * (scale as f64 / divisor)) as u64
}

/// `time.Duration.String()`: such as `1h30m0s`, `1.5ms`.
pub(crate) fn format_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let total = nanos.unsigned_abs();
    if total == 0 {
        return "0s".to_owned();
    }
    if total < 1_000_000_000 {
        let (unit, scale) = match total {
            0..1_000 => ("ns", 1),
            1_000..1_000_000 => ("µs", 1_000),
            _ => ("ms", 1_000_000),
        };
        return format!("{sign}{}{unit}", decimal(total, scale));
    }
    let seconds = decimal(total % 60_000_000_000, 1_000_000_000);
    let minutes = total / 60_000_000_000;
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// A number divided by a power of ten, exactly.
fn decimal(value: u64, scale: u64) -> String {
    let width = scale.ilog10() as usize;
    match value % scale {
        0 => format!("{}", value / scale),
        rest => format!("{}.{}", value / scale, format!("{rest:0width$}").trim_end_matches('0')),
    }
}

/// `string(duration)`: the seconds as the shortest decimal number.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn format_seconds(nanos: i64) -> String {
    let seconds = (nanos / 1_000_000_000) as f64 + (nanos % 1_000_000_000) as f64 / 1e9;
    format!("{seconds}s")
}

/// `strfmt.ParseDuration`: Go's durations, and amounts with units such as `3 weeks`.
pub(crate) fn parse_strfmt_duration(text: &str) -> Result<i64, String> {
    if let Ok(nanos) = parse_duration(text) {
        return Ok(nanos);
    }
    let mut total: i64 = 0;
    let mut found = false;
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let amount_end =
            rest[start..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |end| start + end);
        let unit_start = rest[amount_end..].trim_start();
        let unit_end =
            unit_start.find(|c: char| !c.is_ascii_alphabetic() && c != 'µ').unwrap_or(unit_start.len());
        let (unit, after) = unit_start.split_at(unit_end);
        let amount: i64 =
            rest[start..amount_end].parse().map_err(|_| format!("unable to parse {text} as duration"))?;
        rest = after;
        if unit.is_empty() {
            continue;
        }
        let scale = strfmt_unit(unit).ok_or_else(|| format!("unable to parse {text} as duration"))?;
        found = true;
        total = total.wrapping_add(amount.wrapping_mul(scale));
    }
    if found { Ok(total) } else { Err(format!("unable to parse {text} as duration")) }
}

fn strfmt_unit(unit: &str) -> Option<i64> {
    const UNITS: [(&[&str], i64); 8] = [
        (&["ns", "nano"], 1),
        (&["us", "µs", "micro"], 1_000),
        (&["ms", "milli"], 1_000_000),
        (&["s", "sec"], 1_000_000_000),
        (&["m", "min"], 60_000_000_000),
        (&["h", "hr", "hour"], 3_600_000_000_000),
        (&["d", "day"], 86_400_000_000_000),
        (&["w", "wk", "week"], 604_800_000_000_000),
    ];
    let unit = unit.to_lowercase();
    UNITS
        .iter()
        .find(|(names, _)| {
            names.iter().any(|name| {
                unit.starts_with(name) && (name.len() > 2 || unit == *name || unit == format!("{name}s"))
            })
        })
        .map(|(_, scale)| *scale)
}
