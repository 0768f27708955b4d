//! The messages of the built-in kinds: the number, the Go name, the type, and the `json` tag of each field.
//!
//! `cargo xtask protobuf` writes `messages.json` from kubernetes' Go modules.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use crate::wire::WireType;

/// All messages.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    messages: Vec<Named>,
    /// By API version and name of the message.
    indices: HashMap<&'static str, HashMap<&'static str, usize>>,
}

/// A message in the committed file.
#[derive(Debug)]
struct Named {
    api_version: &'static str,
    name: &'static str,
    /// Its fields as JSON.
    text: &'static str,
    /// Parsed when it is first used: a server needs few of them.
    message: OnceLock<Message>,
}

/// A message: a Go struct.
#[derive(Debug)]
pub(crate) struct Message {
    /// The version of its API group.
    version: &'static str,
    pub(crate) name: &'static str,
    /// By number.
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) number: i32,
    /// Its place in the Go struct.
    pub(crate) place: usize,
    /// The name in Go.
    pub(crate) name: &'static str,
    /// The name in JSON. `None` for an embedded struct, whose fields are among the others there.
    pub(crate) json: Option<&'static str>,
    pub(crate) shape: Shape,
    pub(crate) r#type: FieldType,
    /// The name that Go prints for its type, or that of its elements, if it is not that of `r#type`: `v1.RestartPolicy`.
    pub(crate) element_name: Option<&'static str>,
    /// The name of a map's own type: `v1.ResourceList`.
    pub(crate) map_name: Option<&'static str>,
    /// Whether JSON omits an empty value.
    pub(crate) omit_empty: bool,
    /// Whether JSON omits a zero struct.
    pub(crate) omit_zero: bool,
}

/// The way in which Go stores a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Value,
    Pointer,
    List,
    /// With keys of text.
    Map,
}

/// The type of a field, or of its elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldType {
    String,
    Bytes,
    Bool,
    Int32,
    Int64,
    Double,
    /// A named slice of strings, such as `ExtraValue`: a message of its own in protobuf.
    Strings,
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    /// JSON in a field: `RawExtension`, `FieldsV1`, and apiextensions' `JSON`.
    Json,
    SchemaOrArray,
    SchemaOrBool,
    SchemaOrStrings,
    Message(usize),
}

/// The number, the Go name, the type, and the `json` tag of a field, in the order of the Go struct.
type Row = (i32, &'static str, &'static str, &'static str);

impl Messages {
    /// Returns the messages of kubernetes 1.37.
    pub(crate) fn get() -> &'static Self {
        static MESSAGES: LazyLock<Messages> =
            LazyLock::new(|| Messages::named(include_str!("../data/messages.json")));
        &MESSAGES
    }

    /// Returns the message of a kind. `DeleteOptions` is a kind of every API version.
    pub(crate) fn find(&self, api_version: &str, kind: &str) -> Option<&Message> {
        let api_version = if kind == "DeleteOptions" { "meta.k8s.io/v1" } else { api_version };
        self.at(self.index(api_version, kind)?)
    }

    /// Returns the index of a message.
    pub(crate) fn index(&self, api_version: &str, name: &str) -> Option<usize> {
        self.indices.get(api_version)?.get(name).copied()
    }

    /// Returns the number of messages: all indices are lower.
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Returns the message that is the type of a field.
    pub(crate) fn at(&self, index: usize) -> Option<&Message> {
        let named = self.messages.get(index)?;
        Some(named.message.get_or_init(|| {
            let version = named.api_version.rsplit('/').next().unwrap_or_default();
            // A test ensures that all fields are read.
            Message { version, name: named.name, fields: self.fields(named).unwrap_or_default() }
        }))
    }

    /// Finds the messages in a file that has a line for each, after a line for its API version.
    fn named(text: &'static str) -> Self {
        let mut all = Self::default();
        let mut api_version = "";
        for line in text.lines() {
            let Some((name, text)) = line.strip_prefix('"').and_then(|line| line.split_once("\": ")) else {
                continue;
            };
            if text == "{" {
                api_version = name;
                continue;
            }
            let text = text.strip_suffix(',').unwrap_or(text);
            all.indices.entry(api_version).or_default().insert(name, all.messages.len());
            all.messages.push(Named { api_version, name, text, message: OnceLock::new() });
        }
        all
    }

    /// Reads the fields of a message. `None` if they make no sense.
    fn fields(&self, named: &Named) -> Option<Vec<Field>> {
        let rows: Vec<Row> = serde_json::from_str(named.text).ok()?;
        let rows = rows.into_iter().enumerate();
        let fields = rows.map(|(place, row)| Field::parse(self, named.api_version, place, row));
        let mut fields = fields.collect::<Option<Vec<_>>>()?;
        fields.sort_by_key(|field| field.number);
        Some(fields)
    }
}

impl Message {
    /// Returns the name that Go uses outside of the package: `v1.Pod`.
    pub(crate) fn go_name(&self) -> String {
        format!("{}.{}", self.version, self.name)
    }
}

impl Field {
    fn parse(
        messages: &Messages,
        api_version: &str,
        place: usize,
        (number, name, r#type, json): Row,
    ) -> Option<Self> {
        let (r#type, named) = match r#type.split_once('=') {
            Some((r#type, named)) => (r#type, Some(named)),
            None => (r#type, None),
        };
        let shapes = [("[]", Shape::List), ("map[string]", Shape::Map), ("*", Shape::Pointer)];
        let (element, shape) = shapes
            .into_iter()
            .find_map(|(prefix, shape)| Some((r#type.strip_prefix(prefix)?, shape)))
            .unwrap_or((r#type, Shape::Value));
        let mut words = json.split(',');
        let json = words.next().filter(|name| !name.is_empty());
        let options: Vec<&str> = words.collect();
        // The only named elements of maps are lists.
        let (map_name, element_name) = match shape {
            Shape::Map if element != "Strings" => (named, None),
            _ => (None, named),
        };
        Some(Self {
            element_name,
            map_name,
            number,
            place,
            name,
            json,
            shape,
            r#type: FieldType::parse(messages, api_version, element)?,
            omit_empty: options.contains(&"omitempty"),
            omit_zero: options.contains(&"omitzero"),
        })
    }
}

impl FieldType {
    fn parse(messages: &Messages, api_version: &str, name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "bool" => Self::Bool,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "double" => Self::Double,
            "Strings" => Self::Strings,
            "Time" => Self::Time,
            "MicroTime" => Self::MicroTime,
            "Quantity" => Self::Quantity,
            "IntOrString" => Self::IntOrString,
            "Json" => Self::Json,
            "SchemaOrArray" => Self::SchemaOrArray,
            "SchemaOrBool" => Self::SchemaOrBool,
            "SchemaOrStrings" => Self::SchemaOrStrings,
            // The name includes the API version if that differs.
            name => {
                let (api_version, name) = name.rsplit_once('.').unwrap_or((api_version, name));
                Self::Message(messages.index(api_version, name)?)
            }
        })
    }

    pub(crate) fn wire(self) -> WireType {
        match self {
            Self::Bool | Self::Int32 | Self::Int64 => WireType::Varint,
            Self::Double => WireType::Fixed64,
            _ => WireType::Bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_committed_messages_are_read() {
        let messages = Messages::get();
        let file: Value = serde_json::from_str(include_str!("../data/messages.json")).unwrap();
        let versions = file.as_object().unwrap();
        assert_eq!(versions.values().map(|it| it.as_object().unwrap().len()).sum::<usize>(), messages.len());
        for (api_version, all) in versions {
            for (name, rows) in all.as_object().unwrap() {
                let fields = &messages.find(api_version, name).unwrap().fields;
                assert_eq!(fields.len(), rows.as_array().unwrap().len(), "{api_version} {name}");
            }
        }
        let pod = messages.find("v1", "Pod").unwrap();
        assert_eq!((pod.fields[0].json, pod.go_name()), (Some("metadata"), "v1.Pod".to_owned()));
        assert!(messages.find("apps/v1", "DeleteOptions").is_some() && messages.find("v2", "Pod").is_none());
    }

    #[test]
    fn a_field_of_a_missing_message_is_refused() {
        let messages = Messages::named("\"v1\": {\n\"A\": [[1, \"B\", \"B\", \"b\"]]\n}");
        assert!(messages.fields(&messages.messages[0]).is_none());
    }
}
