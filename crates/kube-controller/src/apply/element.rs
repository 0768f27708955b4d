//! The keys of `fieldsV1`, which name the parts of a value.

use serde_json::{Map, Value};

/// A step from a value to one inside it.
#[derive(Debug, PartialEq)]
pub(super) enum Element<'a> {
    /// `.`: the value itself.
    This,
    /// `f:name`: a member of an object.
    Field(&'a str),
    /// `k:{"name":"a"}`: the item of a list that has these values.
    Key(Map<String, Value>),
    /// `v:"a"`: an item of a set.
    Item(Value),
}

impl<'a> Element<'a> {
    /// Parses a key. `None` if it is of another kind: `i:0`, which no apply owns, or one that is not known yet.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        if text == "." {
            return Some(Self::This);
        }
        let (kind, content) = text.split_once(':')?;
        match kind {
            "f" => Some(Self::Field(content)),
            "k" => serde_json::from_str(content).ok().map(Self::Key),
            "v" => serde_json::from_str(content).ok().map(Self::Item),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_of_all_kinds_are_parsed() {
        let key = json!({"port": 80, "protocol": "TCP"}).as_object().unwrap().clone();
        assert_eq!(Element::parse("."), Some(Element::This));
        assert_eq!(Element::parse("f:a.b/c:d"), Some(Element::Field("a.b/c:d")));
        assert_eq!(Element::parse(r#"k:{"port":80,"protocol":"TCP"}"#), Some(Element::Key(key)));
        assert_eq!(Element::parse(r#"v:"a""#), Some(Element::Item(json!("a"))));
        for unknown in ["i:0", "x:a", "k:[]", "v:", "f", ""] {
            assert_eq!(Element::parse(unknown), None, "{unknown}");
        }
    }
}
