//! What a schema declares: types for the checker, sizes for estimates, and how a value is read.

mod escape;
mod openapi;

use std::{collections::BTreeMap, sync::Arc};

pub(crate) use escape::{escape, unescape};

use crate::{
    syntax::RESERVED,
    types::{Provider, Type},
};

/// kube-apiserver's `MaxRequestSizeBytes`: nothing in a request is longer.
pub(crate) const REQUEST_MAX: i64 = 3 * 1024 * 1024;

/// The declaration of a value: apiserver's `DeclType` and the parts of the schema that reading needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration(Arc<Node>);

#[derive(Debug, PartialEq)]
struct Node {
    shape: Shape,
    nullable: bool,
    /// Whether expressions can refer to the value; else it can be compared as a part of its parent only.
    exposed: bool,
    /// The maximum number of elements, entries or bytes. 0 for other values.
    max_elements: i64,
    /// The size of the smallest JSON text, in bytes.
    min_size: i64,
}

/// What a declared value looks like in JSON, and what it becomes.
#[derive(Debug, PartialEq)]
pub(crate) enum Shape {
    Bool,
    Int,
    Double,
    String,
    /// A string of base64.
    Bytes,
    Duration,
    Date,
    DateTime,
    IntOrString,
    List {
        element: Declaration,
        kind: ListKind,
    },
    Map(Declaration),
    Object(Object),
    /// Data without a schema: `x-kubernetes-preserve-unknown-fields` without a type.
    Preserved,
    /// Data of any JSON type, which becomes a value of the type that it has.
    Dynamic,
    /// An array without `items`.
    Untyped(&'static str),
}

#[derive(Debug, PartialEq)]
pub(crate) struct Object {
    /// By their names in CEL.
    fields: BTreeMap<Arc<str>, Field>,
    /// The names in CEL of properties, by their names in JSON; `None` for a name that cannot be escaped.
    names: BTreeMap<Arc<str>, (Option<Arc<str>>, Declaration)>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Field {
    /// The name in JSON.
    pub(crate) name: Arc<str>,
    pub(crate) declaration: Declaration,
}

/// `x-kubernetes-list-type`.
#[derive(Debug, PartialEq)]
pub(crate) enum ListKind {
    Atomic,
    Set,
    /// With the names of the keys in CEL.
    Map(Vec<String>),
}

/// Why definitions do not declare a value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DefinitionsError {
    /// A reference to something that is not among the definitions.
    #[error("cannot resolve Ref {0:?}: schema not found")]
    Unresolved(String),
    /// The definitions are in one another too often.
    #[error("the schema is too large")]
    TooLarge,
}

impl Declaration {
    pub(crate) fn new(shape: Shape, min_size: i64, max_elements: i64) -> Self {
        Self(Arc::new(Node { shape, nullable: false, exposed: true, max_elements, min_size }))
    }

    /// Data without a schema, such as parameters of a policy: each value has the type that its JSON has.
    #[must_use]
    pub fn dynamic() -> Self {
        Self::new(Shape::Dynamic, 1, 0)
    }

    /// Whether two declarations are the same one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.0.shape
    }

    pub(crate) fn is_dynamic(&self) -> bool {
        matches!(self.shape(), Shape::Dynamic)
    }

    pub(crate) fn is_nullable(&self) -> bool {
        self.0.nullable
    }

    /// Whether expressions can refer to the value. They cannot refer to data without a schema.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.0.exposed
    }

    pub(crate) fn max_elements(&self) -> i64 {
        self.0.max_elements
    }

    pub(crate) fn min_size(&self) -> i64 {
        self.0.min_size
    }

    /// The maximum number of such values in one object: apiextensions' `maxCardinality`.
    #[must_use]
    pub fn max_cardinality(&self) -> u64 {
        u64::try_from(REQUEST_MAX / (self.0.min_size + 1)).unwrap_or(0)
    }

    /// The declaration of the elements of a list or of the values of a map, if expressions can refer to them.
    #[must_use]
    pub fn element(&self) -> Option<&Self> {
        match self.shape() {
            Shape::List { element, .. } | Shape::Map(element) => Some(element),
            _ => None,
        }
    }

    /// The declaration of a property, by its name in JSON. Also for a property whose name CEL cannot express.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&Self> {
        match self.shape() {
            Shape::Object(object) => object.names.get(name).map(|(_, declaration)| declaration),
            _ => None,
        }
    }

    /// The field of an object, by its name in CEL.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        match self.shape() {
            Shape::Object(object) => object.fields.get(name),
            _ => None,
        }
    }

    pub(crate) fn as_object(&self) -> Option<&Object> {
        match self.shape() {
            Shape::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The CEL type. `path` becomes the name of the type if this is an object, and the start of the names of objects inside.
    pub(crate) fn type_at(&self, path: &str) -> Type {
        match self.shape() {
            Shape::Bool => Type::Bool,
            Shape::Int => Type::Int,
            Shape::Double => Type::Double,
            Shape::String => Type::String,
            Shape::Bytes => Type::Bytes,
            Shape::Duration => Type::Duration,
            Shape::Date | Shape::DateTime => Type::Timestamp,
            Shape::IntOrString | Shape::Preserved | Shape::Dynamic | Shape::Untyped(_) => Type::Dyn,
            Shape::List { element, .. } => Type::list(element.type_at(&format!("{path}.@idx"))),
            Shape::Map(value) => Type::map(Type::String, value.type_at(&format!("{path}.@elem"))),
            Shape::Object(_) => Type::object(path),
        }
    }
}

impl Object {
    /// The name in CEL and the declaration of a property, by its name in JSON.
    pub(crate) fn by_json(&self, name: &str) -> Option<(Option<&str>, &Declaration)> {
        self.names.get(name).map(|(name, declaration)| (name.as_deref(), declaration))
    }
}

/// The object types below a root: their names are the paths to them, such as `selfType.spec.list.@idx`.
#[derive(Clone, Debug)]
pub(crate) struct SelfTypes {
    name: String,
    root: Declaration,
}

impl SelfTypes {
    pub(crate) fn new(name: String, root: Declaration) -> Self {
        Self { name, root }
    }

    pub(crate) fn declaration(&self) -> &Declaration {
        &self.root
    }

    pub(crate) fn root_type(&self) -> Type {
        self.root.type_at(&self.name)
    }

    fn find(&self, type_name: &str) -> Option<&Declaration> {
        let path = type_name.strip_prefix(self.name.as_str())?;
        let mut found = &self.root;
        for step in path.split('.').skip(1) {
            found = match (step, found.shape()) {
                ("@idx", Shape::List { element, .. }) | ("@elem", Shape::Map(element)) => element,
                (name, Shape::Object(object)) => &object.fields.get(name)?.declaration,
                _ => return None,
            };
        }
        Some(found)
    }
}

impl Provider for SelfTypes {
    fn has_type(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn field(&self, type_name: &str, field: &str) -> Option<Type> {
        let object = self.find(type_name)?.as_object()?;
        // A keyword may be written without its escape, since Kubernetes 1.31: `self.namespace`.
        let keyword =
            || RESERVED.contains(&field).then(|| object.fields.get_key_value(&*format!("__{field}__")))?;
        let (name, found) = object.fields.get_key_value(field).or_else(keyword)?;
        found.declaration.is_exposed().then(|| found.declaration.type_at(&format!("{type_name}.{name}")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{COST_LIMIT, Declaration, Environment, Origin, Program, Variables};

    #[test]
    fn a_keyword_needs_no_escape_but_has_no_size_without_one() {
        let schema = Declaration::from_openapi(
            &json!({"type": "object", "properties": {
                "namespace": {"type": "string", "maxLength": 20},
                "package": {"type": "object", "properties": {"if": {"type": "integer"}}},
            }}),
            false,
        );
        let environment = Environment::kubernetes(37, Origin::New).with_variable("self", &schema);
        let compile = |rule: &str| Program::compile(rule, &environment);
        let object = json!({"namespace": "x", "package": {"if": 1}});
        let variables = Variables::new().with("self", &object, &schema);
        for rule in
            ["has(self.namespace) && self.namespace == 'x'", "self.package.if == self.__package__.__if__"]
        {
            let program = compile(rule).unwrap();
            assert_eq!(
                program.evaluate(&variables, COST_LIMIT).result.unwrap().as_bool(),
                Some(true),
                "{rule}"
            );
        }
        assert_eq!(compile("self.__namespace__.contains('x')").unwrap().max_cost(), 10);
        assert!(compile("self.namespace.contains('x')").unwrap().max_cost() > 10_000_000);
        assert!(compile("self.const").unwrap_err().to_string().contains("undefined field 'const'"));
    }
}
