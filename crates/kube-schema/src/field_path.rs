//! Simple JSON paths into a schema: `.spec.names['a.b']`, for the `fieldPath` of rules and for `selectableFields`.

use crate::schema::Schema;

/// Returns the path in the form that errors use (`spec.names[a.b]`), and the schema of the field. The error is
/// apiextensions-apiserver's.
pub(crate) fn resolve<'s>(
    path: &str,
    schema: &'s Schema,
    allow_array_notation: bool,
) -> Result<(String, &'s Schema), String> {
    let mut resolved = String::new();
    let mut schema = schema;
    let mut rest = path;
    while !rest.is_empty() {
        let name;
        if let Some(tail) = rest.strip_prefix('.') {
            let end = tail.find(['.', '[', ']']).unwrap_or(tail.len());
            if tail.is_empty() {
                return Err("unexpected end of JSON path".to_owned());
            }
            // Of two adjacent delimiters, the second one is taken as a name.
            let end = end.max(tail.chars().next().map_or(1, char::len_utf8));
            (name, rest) = (tail[..end].to_owned(), &tail[end..]);
        } else if let Some(tail) = rest.strip_prefix('[') {
            if !allow_array_notation {
                return Err("array notation is not allowed".to_owned());
            }
            (name, rest) = quoted(tail)?;
        } else {
            let end = rest.find(['.', '[', ']']).unwrap_or(rest.len()).max(1);
            return Err(format!("expected [ or . but got: {}", rest.get(..end).unwrap_or(rest)));
        }
        if let Some(property) = schema.properties.get(&name) {
            if !resolved.is_empty() {
                resolved.push('.');
            }
            resolved.push_str(&name);
            schema = property;
        } else if let (true, Some(additional)) = (
            schema.properties.is_empty(),
            schema.additional_properties.as_ref().and_then(|schema| schema.schema()),
        ) {
            resolved.push_str(&format!("[{name}]"));
            schema = additional;
        } else {
            return Err("does not refer to a valid field".to_owned());
        }
    }
    Ok((resolved, schema))
}

/// Parses `'name']...`, with backslashes as escapes, into the name and the rest.
fn quoted(text: &str) -> Result<(String, &str), String> {
    if text.is_empty() {
        return Err("unexpected end of JSON path".to_owned());
    }
    let Some(inside) = text.strip_prefix('\'') else {
        let end = text.find(['.', '[', ']']).unwrap_or(text.len());
        return Err(format!("expected single quoted string but got {}", &text[..end]));
    };
    let mut name = String::new();
    let mut chars = inside.char_indices();
    while let Some((index, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, 'a')) => name.push('\x07'),
                Some((_, 'b')) => name.push('\x08'),
                Some((_, 'f')) => name.push('\x0c'),
                Some((_, 'n')) => name.push('\n'),
                Some((_, 'r')) => name.push('\r'),
                Some((_, 't')) => name.push('\t'),
                Some((_, 'v')) => name.push('\x0b'),
                Some((_, c @ ('\'' | '\\'))) => name.push(c),
                Some((_, c)) => return Err(format!("invalid string literal: invalid escape char \\{c}")),
                None => break,
            },
            '\'' => {
                let rest = &inside[index + 1..];
                return match rest.strip_prefix(']') {
                    Some(rest) => Ok((name, rest)),
                    None if rest.is_empty() => Err("unexpected end of JSON path".to_owned()),
                    None => Err(format!(
                        "expected ] but got {}",
                        &rest[..rest.find(['.', '[']).unwrap_or(rest.len())]
                    )),
                };
            }
            c => name.push(c),
        }
    }
    Err(format!("expected single quoted string but got {text}"))
}
