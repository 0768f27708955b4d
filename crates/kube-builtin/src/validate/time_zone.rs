//! The time zone of a CronJob: the names that Go's `time.LoadLocation` knows, and kube-apiserver's rules for them.

/// The names in Go's own copy of the IANA database (`unzip -Z1 lib/time/zoneinfo.zip`), sorted, without folders.
const NAMES: &str = include_str!("../../data/time_zones.txt");

/// Returns the problems of the name of a time zone.
pub(super) fn problems(name: &str) -> Vec<String> {
    if name.is_empty() {
        return vec!["timeZone must be nil or non-empty string".to_owned()];
    }
    let mut wrong = Vec::new();
    if name.eq_ignore_ascii_case("local") {
        wrong.push(
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones".to_owned(),
        );
    }
    let is_known = name.split('/').all(is_part) && NAMES.lines().any(|known| known == name);
    // Go takes `Local` for the zone of the machine.
    if !is_known && name != "Local" {
        wrong.push(format!("unknown time zone {name}"));
    }
    wrong
}

fn is_part(part: &str) -> bool {
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b'+');
    (1..=14).contains(&part.len())
        && part.bytes().all(is_plain)
        && part != "."
        && part != ".."
        && !part.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_database() {
        for good in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5"] {
            assert_eq!(problems(good), [""; 0], "{good}");
        }
        for bad in ["europe/berlin", "Europe", "Europe/", "../UTC", "Mars/Olympus", "UTC+1"] {
            assert_eq!(problems(bad), [format!("unknown time zone {bad}")]);
        }
        assert_eq!((problems("Local").len(), problems("local").len()), (1, 2));
        assert_eq!(problems(""), ["timeZone must be nil or non-empty string"]);
    }
}
