//! The schedule of a CronJob, with the errors of `robfig/cron`.

/// Returns the error of a schedule, which has five fields or is one of the predefined names.
pub(super) fn wrong(schedule: &str) -> Option<String> {
    const NAMES: [&str; 7] =
        ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
    if schedule.starts_with('@') {
        let is_known = NAMES.contains(&schedule) || schedule.starts_with("@every ");
        return (!is_known).then(|| format!("unrecognized descriptor: {schedule}"));
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields[..] else {
        return Some(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    };
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    field(minute, 0, 59, &[], 0)
        .or_else(|| field(hour, 0, 23, &[], 0))
        .or_else(|| field(day, 1, 31, &[], 0))
        .or_else(|| field(month, 1, 12, &MONTHS, 1))
        .or_else(|| field(weekday, 0, 6, &DAYS, 0))
}

/// `first`: the number of the first name.
fn field(text: &str, low: usize, high: usize, names: &[&str], first: usize) -> Option<String> {
    text.split(',')
        .filter(|part| !part.is_empty())
        .find_map(|part| range(part, low, high, names, first).err())
}

fn range(text: &str, low: usize, high: usize, names: &[&str], first: usize) -> Result<(), String> {
    let number = |text: &str| {
        let name = names.iter().position(|name| text.eq_ignore_ascii_case(name));
        name.map_or_else(|| int(text), |index| Ok(index + first))
    };
    let mut parts = text.split('/');
    let bounds = parts.next().unwrap_or_default();
    let step = parts.next();
    if parts.next().is_some() {
        return Err(format!("too many slashes: {text}"));
    }
    let ends: Vec<&str> = bounds.split('-').collect();
    let (start, mut end) = match ends[..] {
        ["*" | "?"] => (low, high),
        [one] => {
            let one = number(one)?;
            (one, one)
        }
        [start, end] => (number(start)?, number(end)?),
        _ => return Err(format!("too many hyphens: {text}")),
    };
    if let Some(step) = step {
        let step = int(step)?;
        if ends.len() == 1 {
            end = high;
        }
        if step == 0 {
            return Err(format!("step of range should be a positive number: {text}"));
        }
    }
    match () {
        () if start < low => Err(format!("beginning of range ({start}) below minimum ({low}): {text}")),
        () if end > high => Err(format!("end of range ({end}) above maximum ({high}): {text}")),
        () if start > end => Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}")),
        () => Ok(()),
    }
}

fn int(text: &str) -> Result<usize, String> {
    match text.parse::<i64>() {
        Ok(number) => {
            usize::try_from(number).map_err(|_| format!("negative number ({number}) not allowed: {text}"))
        }
        Err(_) => {
            Err(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules() {
        for good in ["* * * * *", "*/5 0-23/2 1,15 JAN-MAR mon", "@hourly", "@every 5m", "0 0 ? * *"] {
            assert_eq!(wrong(good), None, "{good}");
        }
        for (bad, why) in [
            ("x", "expected exactly 5 fields, found 1: [x]"),
            ("61 * * * *", "end of range (61) above maximum (59): 61"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("@nope", "unrecognized descriptor: @nope"),
        ] {
            assert_eq!(wrong(bad).as_deref(), Some(why), "{bad}");
        }
    }
}
