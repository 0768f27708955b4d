//! The messages of the built-in kinds: the number, the Go name, the type, and the `json` tag of each field.
//!
//! `cargo xtask protobuf` writes `messages.json` from kubernetes' Go modules.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use crate::wire::WireType;

/// All messages.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    messages: Vec<Message>,
    /// By API version and name of the message.
    indices: HashMap<String, usize>,
}

/// A message: a Go struct.
#[derive(Debug)]
pub(crate) struct Message {
    /// The version of its API group.
    version: String,
    pub(crate) name: String,
    /// By number.
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) number: i32,
    /// Its place in the Go struct.
    pub(crate) place: usize,
    /// The name in Go.
    pub(crate) name: String,
    /// The name in JSON. `None` for an embedded struct, whose fields are among the others there.
    pub(crate) json: Option<String>,
    pub(crate) shape: Shape,
    pub(crate) r#type: FieldType,
    /// The name that Go prints for its type, or that of its elements, if it is not that of `r#type`: `v1.RestartPolicy`.
    pub(crate) element_name: Option<String>,
    /// The name of a map's own type: `v1.ResourceList`.
    pub(crate) map_name: Option<String>,
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

/// The committed file: fields in the order of the Go struct, by API version and name of the message.
type File = BTreeMap<String, BTreeMap<String, Vec<Row>>>;

/// The number, the Go name, the type, and the `json` tag of a field.
type Row = (i32, String, String, String);

impl Messages {
    /// Returns the messages of kubernetes 1.37. The first call parses them.
    pub(crate) fn get() -> &'static Self {
        // A test ensures that the committed file parses.
        static MESSAGES: LazyLock<Messages> =
            LazyLock::new(|| Messages::parse(include_str!("../data/messages.json")).unwrap_or_default());
        &MESSAGES
    }

    /// Returns the message of a kind. `DeleteOptions` is a kind of every API version.
    pub(crate) fn find(&self, api_version: &str, kind: &str) -> Option<&Message> {
        let api_version = if kind == "DeleteOptions" { "meta.k8s.io/v1" } else { api_version };
        self.indices.get(&format!("{api_version}.{kind}")).and_then(|index| self.messages.get(*index))
    }

    /// Returns the index of a message.
    pub(crate) fn index(&self, api_version: &str, name: &str) -> Option<usize> {
        self.indices.get(&format!("{api_version}.{name}")).copied()
    }

    /// Returns all messages: the API version, the name, and the index of each.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (&str, &str, usize)> {
        self.indices.iter().filter_map(|(name, index)| {
            let (api_version, name) = name.rsplit_once('.')?;
            Some((api_version, name, *index))
        })
    }

    /// Returns all messages by their index.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter()
    }

    /// Returns the message that is the type of a field.
    pub(crate) fn at(&self, index: usize) -> Option<&Message> {
        self.messages.get(index)
    }

    fn parse(text: &str) -> Option<Self> {
        let file: File = serde_json::from_str(text).ok()?;
        let names = file
            .iter()
            .flat_map(|(version, messages)| messages.keys().map(move |name| format!("{version}.{name}")));
        let indices: HashMap<_, _> = names.enumerate().map(|(index, name)| (name, index)).collect();
        let messages = file.into_iter().flat_map(|(version, messages)| {
            let indices = &indices;
            messages.into_iter().map(move |(name, rows)| {
                let rows = rows.into_iter().enumerate();
                let fields = rows.map(|(place, row)| Field::parse(indices, &version, place, row));
                let mut fields = fields.collect::<Option<Vec<_>>>()?;
                fields.sort_by_key(|field| field.number);
                let version = version.rsplit('/').next().unwrap_or_default().to_owned();
                Some(Message { version, name, fields })
            })
        });
        let messages = messages.collect::<Option<Vec<_>>>()?;
        Some(Self { messages, indices })
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
        indices: &HashMap<String, usize>,
        api_version: &str,
        place: usize,
        (number, name, r#type, json): Row,
    ) -> Option<Self> {
        let (r#type, named) = match r#type.split_once('=') {
            Some((r#type, named)) => (r#type, Some(named.to_owned())),
            None => (&*r#type, None),
        };
        let shapes = [("[]", Shape::List), ("map[string]", Shape::Map), ("*", Shape::Pointer)];
        let (element, shape) = shapes
            .into_iter()
            .find_map(|(prefix, shape)| Some((r#type.strip_prefix(prefix)?, shape)))
            .unwrap_or((r#type, Shape::Value));
        let mut words = json.split(',');
        let json = words.next().filter(|name| !name.is_empty()).map(str::to_owned);
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
            r#type: FieldType::parse(indices, api_version, element)?,
            omit_empty: options.contains(&"omitempty"),
            omit_zero: options.contains(&"omitzero"),
        })
    }
}

impl FieldType {
    fn parse(indices: &HashMap<String, usize>, api_version: &str, name: &str) -> Option<Self> {
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
            message if message.contains('.') => Self::Message(*indices.get(message)?),
            message => Self::Message(*indices.get(&format!("{api_version}.{message}"))?),
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
    use super::*;

    #[test]
    fn the_committed_messages_are_read() {
        let messages = Messages::get();
        let pod = messages.find("v1", "Pod").unwrap();
        assert_eq!(pod.fields[0].json.as_deref(), Some("metadata"));
        assert!(messages.find("apps/v1", "DeleteOptions").is_some() && messages.find("v2", "Pod").is_none());
    }

    #[test]
    fn a_file_with_a_missing_message_is_refused() {
        assert!(Messages::parse(r#"{"v1": {"A": [[1, "B", "B", "b"]]}}"#).is_none());
    }
}
