//! CEL's types, and declarations of variables and functions.

use std::{fmt, sync::Arc};

/// A type of the checker. Types with the same structure are equal.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) enum Type {
    #[default]
    Dyn,
    /// `google.protobuf.Any`: like `Dyn`, with another name. Elements of Kubernetes' untyped lists and maps have it.
    Any,
    /// The type of an expression that has an error.
    Error,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Duration,
    Timestamp,
    List(Arc<Type>),
    Map(Arc<(Type, Type)>),
    /// A type that also takes null: protobuf's wrappers.
    Nullable(Arc<Type>),
    /// The type of a type; the parameter is missing for `type` itself.
    Meta(Option<Arc<Type>>),
    /// An object with fields, which a [`Provider`] knows by the name.
    Object(Arc<str>),
    /// A type of a library, such as `optional_type(V)`.
    Opaque(Arc<str>, Arc<[Type]>),
    /// A parameter of a generic declaration.
    Param(Arc<str>),
}

pub(crate) const OPTIONAL: &str = "optional_type";

impl Type {
    pub(crate) fn list(element: Self) -> Self {
        Self::List(Arc::new(element))
    }

    pub(crate) fn map(key: Self, value: Self) -> Self {
        Self::Map(Arc::new((key, value)))
    }

    pub(crate) fn optional(value: Self) -> Self {
        Self::Opaque(OPTIONAL.into(), [value].into())
    }

    pub(crate) fn type_of(value: Self) -> Self {
        Self::Meta(Some(Arc::new(value)))
    }

    pub(crate) fn object(name: &str) -> Self {
        Self::Object(name.into())
    }

    pub(crate) fn param(name: &str) -> Self {
        Self::Param(name.into())
    }

    /// The name at run time, without parameters: what `type(x)` prints.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Dyn => "dyn",
            Self::Any => "google.protobuf.Any",
            Self::Error => "error",
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Duration => "google.protobuf.Duration",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Nullable(inner) => inner.name(),
            Self::Meta(_) => "type",
            Self::Object(name) | Self::Opaque(name, _) | Self::Param(name) => name,
        }
    }

    pub(crate) fn parameters(&self) -> Vec<&Self> {
        match self {
            Self::List(element) => vec![element],
            Self::Map(entry) => vec![&entry.0, &entry.1],
            Self::Meta(Some(inner)) => vec![inner],
            Self::Opaque(_, parameters) => parameters.iter().collect(),
            _ => Vec::new(),
        }
    }
}

impl Type {
    /// As errors at run time show it: names of well-known types are those of protobuf.
    pub(crate) fn runtime(&self) -> String {
        let parameters: Vec<_> = self.parameters().into_iter().map(Self::runtime).collect();
        match self {
            Self::Param(name) => format!("<{name}>"),
            _ if parameters.is_empty() => self.name().to_owned(),
            _ => format!("{}({})", self.name(), parameters.join(", ")),
        }
    }
}

/// As the checker's errors show it: cel-go's `FormatCELType`.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Error => f.write_str("!error!"),
            Self::Null => f.write_str("null"),
            Self::Duration => f.write_str("duration"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Nullable(inner) => write!(f, "wrapper({})", inner.name()),
            _ => {
                f.write_str(self.name())?;
                for (index, parameter) in self.parameters().into_iter().enumerate() {
                    write!(f, "{}{parameter}", if index == 0 { "(" } else { ", " })?;
                }
                if self.parameters().is_empty() { Ok(()) } else { f.write_str(")") }
            }
        }
    }
}

/// Knows the object types of an environment.
pub(crate) trait Provider: fmt::Debug + Send + Sync {
    /// Whether there is an object type of that name.
    fn has_type(&self, name: &str) -> bool;
    /// The type of a field of an object type.
    fn field(&self, type_name: &str, field: &str) -> Option<Type>;
}

/// A function or method: all its overloads.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) name: Arc<str>,
    pub(crate) overloads: Vec<Overload>,
}

/// One signature of a function.
#[derive(Clone, Debug)]
pub(crate) struct Overload {
    /// cel-go's name of the overload, by which costs are found.
    pub(crate) id: Arc<str>,
    /// Whether the first argument is the target of a method.
    pub(crate) member: bool,
    pub(crate) args: Vec<Type>,
    pub(crate) result: Type,
}

impl Overload {
    /// Reads a signature as cel-go prints it: `string.(int) -> string` for a method, `(list(T), int) -> T` for a function.
    /// `None` if the text is not a signature.
    pub(crate) fn parse(id: &str, signature: &str) -> Option<Self> {
        let (args, result) = signature.rsplit_once(" -> ")?;
        let result = Type::parse(result)?;
        let (target, args) = match args.strip_suffix(')')?.split_once(".(") {
            Some((target, args)) if !target.starts_with('(') => (Some(target), args),
            _ => (None, args.strip_prefix('(')?.strip_suffix(')')?),
        };
        let args = target.into_iter().chain(split(args)?).map(Type::parse).collect::<Option<_>>()?;
        Some(Self { id: id.into(), member: target.is_some(), args, result })
    }
}

impl Type {
    /// Reads a type in the form in which it is displayed. A single capital letter is a parameter; a name with a dot is an
    /// object, except the opaque types of `net`, and so are the types of mutating policies.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, parameters) = match text.strip_suffix(')') {
            Some(text) => {
                let (name, parameters) = text.split_once('(')?;
                (name, split(parameters)?.into_iter().map(Self::parse).collect::<Option<Vec<_>>>()?)
            }
            None => (text, Vec::new()),
        };
        let parsed = match (name, parameters.as_slice()) {
            ("dyn", []) => Self::Dyn,
            ("any", []) => Self::Any,
            ("null", []) => Self::Null,
            ("bool", []) => Self::Bool,
            ("int", []) => Self::Int,
            ("uint", []) => Self::Uint,
            ("double", []) => Self::Double,
            ("string", []) => Self::String,
            ("bytes", []) => Self::Bytes,
            ("duration", []) => Self::Duration,
            ("timestamp", []) => Self::Timestamp,
            ("type", []) => Self::Meta(None),
            ("type", [inner]) => Self::type_of(inner.clone()),
            ("list", [element]) => Self::list(element.clone()),
            ("map", [key, value]) => Self::map(key.clone(), value.clone()),
            ("wrapper", [inner]) => Self::Nullable(Arc::new(inner.clone())),
            (name, []) if name.len() == 1 && name.chars().all(char::is_uppercase) => Self::param(name),
            ("Object" | "JSONPatch", []) => Self::object(name),
            (name, []) if name.contains('.') && !name.starts_with("net.") => Self::object(name),
            (name, parameters) => Self::Opaque(name.into(), parameters.into()),
        };
        is_name(name).then_some(parsed)
    }

    /// Whether this holds for the type or for a part of it.
    pub(crate) fn any(&self, test: &impl Fn(&Self) -> bool) -> bool {
        let parts = match self {
            Self::Nullable(inner) => vec![&**inner],
            _ => self.parameters(),
        };
        test(self) || parts.into_iter().any(|part| part.any(test))
    }
}

/// Whether a text is an identifier, or several with dots between them.
pub(crate) fn is_name(text: &str) -> bool {
    text.split('.').all(|part| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// Splits at the commas outside of parentheses. `None` if a part is empty, or a parenthesis has no counterpart.
fn split(list: &str) -> Option<Vec<&str>> {
    if list.trim().is_empty() {
        return Some(Vec::new());
    }
    let mut depth = 0;
    let mut is_balanced = true;
    let parts = list.split(|c| {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        is_balanced &= depth >= 0;
        c == ',' && depth == 0
    });
    let parts: Vec<_> = parts.map(str::trim).collect();
    (is_balanced && depth == 0 && parts.iter().all(|part| !part.is_empty())).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::{Overload, Type};

    #[test]
    fn a_signature_is_read_as_it_is_displayed() {
        let method =
            Overload::parse("x", "map(K, list(V)).(K, optional_type(V)) -> type(list(dyn))").unwrap();
        assert!(method.member);
        let shown: Vec<_> = method.args.iter().map(Type::to_string).collect();
        assert_eq!(shown, ["map(K, list(V))", "K", "optional_type(V)"]);
        assert_eq!(method.result.to_string(), "type(list(dyn))");
        let function = Overload::parse("x", "(string, net.IP) -> kubernetes.URL").unwrap();
        assert!(!function.member);
        assert_eq!(function.args[1], Type::Opaque("net.IP".into(), [].into()));
        assert_eq!(function.result, Type::object("kubernetes.URL"));
        assert!(Overload::parse("x", "() -> bool").unwrap().args.is_empty());
        assert!(Overload::parse("x", "string").is_none());
    }

    #[test]
    fn what_is_no_type_is_not_read() {
        for text in [
            "",
            "list(",
            "list(int",
            "list)",
            "int, int",
            "bool | int",
            "map(int,)",
            "map(,int)",
            "list(int))",
            "a..b",
        ] {
            assert_eq!(Type::parse(text), None, "{text}");
        }
    }
}
