//! Reads fields of a JSON document as Go's decoder does: missing and null values are empty, and a wrong type is an
//! error. An error names the place and the types, but never the value.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// Values by name that this crate does not interpret.
pub(crate) type Extensions = BTreeMap<String, Value>;

/// A value of the document, and its path for error messages.
pub(crate) struct Node<'a> {
    pub(crate) value: &'a Value,
    path: String,
}

impl<'a> Node<'a> {
    pub(crate) fn root(value: &'a Value) -> Self {
        Self { value, path: String::new() }
    }

    pub(crate) fn field(&self, key: &str) -> Node<'a> {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Node { value: self.value.get(key).unwrap_or(&Value::Null), path }
    }

    fn expected(&self, what: &str) -> String {
        let found = match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean (quote it)",
            Value::Number(_) => "a number (quote it)",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "a map",
        };
        let at = if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) };
        format!("{at}expected {what}, found {found}")
    }

    pub(crate) fn object(&self) -> Result<Option<&'a Map<String, Value>>, String> {
        match self.value {
            Value::Null => Ok(None),
            Value::Object(map) => Ok(Some(map)),
            _ => Err(self.expected("a map")),
        }
    }

    pub(crate) fn list(&self) -> Result<Option<Vec<Node<'a>>>, String> {
        match self.value {
            Value::Null => Ok(None),
            Value::Array(items) => {
                let node = |(index, value)| Node { value, path: format!("{}[{index}]", self.path) };
                let nodes: Vec<_> = items.iter().enumerate().map(node).collect();
                for node in &nodes {
                    if matches!(node.value, Value::Array(_)) {
                        return Err(node.expected("a map"));
                    }
                }
                Ok(Some(nodes))
            }
            _ => Err(self.expected("a list")),
        }
    }

    pub(crate) fn as_string(&self) -> Result<String, String> {
        match self.value {
            Value::Null => Ok(String::new()),
            Value::String(text) => Ok(text.clone()),
            _ => Err(self.expected("a string")),
        }
    }

    pub(crate) fn string(&self, key: &str) -> Result<String, String> {
        self.object()?;
        self.field(key).as_string()
    }

    pub(crate) fn bool(&self, key: &str) -> Result<bool, String> {
        self.object()?;
        let field = self.field(key);
        match field.value {
            Value::Null => Ok(false),
            Value::Bool(value) => Ok(*value),
            _ => Err(field.expected("true or false")),
        }
    }

    /// Decodes padded base64, in which Go ignores line breaks.
    pub(crate) fn bytes(&self, key: &str) -> Result<Vec<u8>, String> {
        let text = self.string(key)?.replace(['\r', '\n'], "");
        STANDARD.decode(text).map_err(|_| format!("{}: expected base64", self.field(key).path))
    }

    pub(crate) fn strings(&self) -> Result<Option<Vec<String>>, String> {
        self.list()?.map(|items| items.iter().map(Node::as_string).collect()).transpose()
    }

    pub(crate) fn entries<T>(
        &self,
        decode: impl Fn(&Node<'a>) -> Result<T, String>,
    ) -> Result<BTreeMap<String, T>, String> {
        let map = self.object()?.into_iter().flatten();
        map.map(|(key, _)| Ok((key.clone(), decode(&self.field(key))?))).collect()
    }

    /// Decodes a list of `{name, <field>}`. A duplicate name is an error.
    pub(crate) fn named<T>(
        &self,
        list: &str,
        field: &str,
        decode: impl Fn(&Node<'a>) -> Result<T, String>,
    ) -> Result<BTreeMap<String, T>, String> {
        let mut out = BTreeMap::new();
        for mut item in self.field(list).list()?.unwrap_or_default() {
            let name = item.string("name")?;
            item.path = format!("{} ({name:?})", item.path);
            let inner = item.field(field);
            inner.object()?;
            if out.insert(name.clone(), decode(&inner)?).is_some() {
                return Err(format!("{list}: duplicate name {name:?}"));
            }
        }
        Ok(out)
    }

    pub(crate) fn extensions(&self) -> Result<Extensions, String> {
        self.object()?;
        let mut out = Extensions::new();
        for item in self.field("extensions").list()?.unwrap_or_default() {
            let name = item.string("name")?;
            let value = item.field("extension").value.clone();
            // client-go accepts a duplicate if the earlier extension is empty.
            if !out.insert(name.clone(), value).unwrap_or_default().is_null() {
                return Err(format!("{}extensions: duplicate name {name:?}", self.prefix()));
            }
        }
        Ok(out)
    }

    fn prefix(&self) -> String {
        if self.path.is_empty() { String::new() } else { format!("{}.", self.path) }
    }
}
