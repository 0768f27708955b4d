//! Files of `--token-auth-file`: lines of `token,user,uid,"group1,group2"`, as Go's `encoding/csv` reads them.

use anyhow::{Result, bail, ensure};

/// A user with a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TokenUser {
    pub(super) token: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) groups: Vec<String>,
}

/// Reads a file.
///
/// # Errors
/// Fails if a line has fewer than three columns, or a quote where none can be.
pub(super) fn parse(text: &str) -> Result<Vec<TokenUser>> {
    let mut users = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut columns = columns(line, number)?.into_iter();
        let count = columns.len();
        let (Some(token), Some(name), Some(uid)) = (columns.next(), columns.next(), columns.next()) else {
            bail!("line {number} must have at least 3 columns (token, user name, user uid), found {count}");
        };
        if token.is_empty() {
            continue;
        }
        let groups = columns.next().unwrap_or_default();
        let groups = groups.split(',').filter(|group| !group.is_empty()).map(str::to_owned).collect();
        users.push(TokenUser { token, name, uid, groups });
    }
    Ok(users)
}

fn columns(line: &str, number: usize) -> Result<Vec<String>> {
    let mut columns = Vec::new();
    let mut rest = Some(line);
    while let Some(text) = rest {
        let text = text.trim_start();
        let Some(mut quoted) = text.strip_prefix('"') else {
            let (column, after) =
                text.split_once(',').map_or((text, None), |(column, after)| (column, Some(after)));
            ensure!(!column.contains('"'), "line {number} has a quote inside a column");
            columns.push(column.to_owned());
            rest = after;
            continue;
        };
        let mut column = String::new();
        rest = loop {
            let Some((part, after)) = quoted.split_once('"') else {
                bail!("line {number} has a quote without an end")
            };
            column.push_str(part);
            if let Some(more) = after.strip_prefix('"') {
                column.push('"');
                quoted = more;
            } else if after.is_empty() {
                break None;
            } else if let Some(next) = after.strip_prefix(',') {
                break Some(next);
            } else {
                bail!("line {number} has a quote inside a column");
            }
        };
        columns.push(column);
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_tokens_and_groups() {
        let text = "t1,jane,7,\"devs,ops\"\n\n# nobody\nt2,\"O\"\"Neil\",8\n,none,9\n";
        let users = parse(text).unwrap();
        let user = |token: &str, name: &str, uid: &str, groups: &[&str]| TokenUser {
            token: token.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        };
        assert_eq!(users, [user("t1", "jane", "7", &["devs", "ops"]), user("t2", "O\"Neil", "8", &[])]);
        for bad in ["a,b", "a", "\"a,b,c", "\"a\"b,c,d", "a\"b,c,d"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
