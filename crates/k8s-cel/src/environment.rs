//! What an expression may use.

use std::sync::Arc;

use crate::{
    check,
    cost::Sizes,
    eval::Dialect,
    library::{self, Level, Libraries},
    schema::{Declaration, SelfTypes},
    syntax::{Extension, Options},
    types::{Function, Overload, Provider, Type},
};

/// Whether an expression is new in a request, or already stored.
///
/// kube-apiserver refuses in a new expression what its predecessor does not know, so that an upgrade can be rolled back; what
/// is stored may use everything (KEP-2876, `pkg/cel/environment`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// The expression comes with a request that creates it or changes it.
    New,
    /// The expression is stored, and a request leaves it as it is.
    Stored,
}

/// The functions, types and variables of an expression.
///
/// Cheap to clone: the functions of a version are shared.
#[derive(Clone, Debug)]
pub struct Environment {
    pub(crate) checker: check::Environment,
    pub(crate) options: Options,
    pub(crate) dialect: Dialect,
    pub(crate) has_checker: bool,
    /// The type that expressions must have.
    pub(crate) result: Option<Type>,
    variables: Vec<(Arc<str>, Declaration, Type)>,
}

impl Environment {
    /// The environment of kube-apiserver 1.`minor`, for CRDs' validation rules and for policies. Versions before 1.32 get the
    /// functions of 1.32, versions after 1.37 those of 1.37.
    #[must_use]
    pub fn kubernetes(minor: u32, origin: Origin) -> Self {
        let level = match origin {
            Origin::New => Level::of_new_expressions(minor),
            Origin::Stored => Level::of_stored_expressions(minor),
        };
        Self::new(Libraries::Kubernetes(level), Dialect::Kubernetes)
    }

    /// The environment of cel-spec and all of cel-go's libraries, among them `math` and `base64`, which Kubernetes does not
    /// have: for programs that use CEL for themselves.
    #[must_use]
    pub fn specification() -> Self {
        Self::new(Libraries::Conformance, Dialect::Specification)
    }

    fn new(libraries: Libraries, dialect: Dialect) -> Self {
        let checker = check::Environment {
            container: "".into(),
            functions: library::functions(libraries),
            variables: std::collections::HashMap::new(),
            provider: Arc::new(Objects::default()),
        };
        Self {
            checker,
            options: libraries.syntax(),
            dialect,
            has_checker: true,
            result: None,
            variables: Vec::new(),
        }
    }

    /// Declares a variable, such as `self`, whose value is JSON that a schema describes.
    #[must_use]
    pub fn with_variable(self, name: &str, declaration: &Declaration) -> Self {
        self.declare(name, declaration, |declared| declared)
    }

    /// Declares a variable that has a value of a declaration or none: an `optional_type`, such as `oldSelf` with
    /// `optionalOldSelf`.
    #[must_use]
    pub fn with_optional_variable(self, name: &str, declaration: &Declaration) -> Self {
        self.declare(name, declaration, Type::optional)
    }

    /// Declares a variable by the text of its type, as errors print it: `int`, `map(string, list(dyn))`.
    ///
    /// Returns `None` if the text is not a type.
    #[must_use]
    pub fn with_typed_variable(mut self, name: &str, declared: &str) -> Option<Self> {
        self.checker.variables.insert(name.into(), Type::parse(declared)?);
        Some(self)
    }

    /// Declares a function by the names and the signatures of its overloads, as errors print them: `(int, int) -> bool`,
    /// `string.() -> list(T)`. It has no code: an expression that calls it can be checked, but its evaluation fails.
    ///
    /// Returns `None` if a text is not a signature.
    #[must_use]
    pub fn with_function(mut self, name: &str, overloads: &[(&str, &str)]) -> Option<Self> {
        let overloads = overloads.iter().map(|(id, signature)| Overload::parse(id, signature));
        let overloads = overloads.collect::<Option<Vec<_>>>()?;
        let name: Arc<str> = name.into();
        Arc::make_mut(&mut self.checker.functions)
            .entry(Arc::clone(&name))
            .or_insert_with(|| Function { name, overloads: Vec::new() })
            .overloads
            .extend(overloads);
        Some(self)
    }

    /// The type that an expression must have, as errors print it: `bool` for a rule, `string` for a message.
    ///
    /// Returns `None` if the text is not a type.
    #[must_use]
    pub fn with_result(mut self, expected: &str) -> Option<Self> {
        self.result = Some(Type::parse(expected)?);
        Some(self)
    }

    /// The namespace in which names are looked up first, such as `google.protobuf`. Kubernetes has none.
    #[must_use]
    pub fn in_container(mut self, container: &str) -> Self {
        self.checker.container = container.into();
        self
    }

    /// Leaves the type checker out: what does not fit is an error of the evaluation.
    #[must_use]
    pub fn without_checker(mut self) -> Self {
        self.has_checker = false;
        self
    }

    /// Leaves the macros out.
    #[must_use]
    pub fn without_macros(mut self) -> Self {
        self.options = self.options.with(Extension::NoMacros);
        self
    }

    fn declare(mut self, name: &str, declaration: &Declaration, wrap: fn(Type) -> Type) -> Self {
        // The same declaration is the same type: `self == oldSelf` is well-typed.
        let known = self.variables.iter().find(|(_, known, _)| known.is(declaration));
        let declared = match known {
            Some((_, _, declared)) => declared.clone(),
            None => declaration.type_at(&format!("{name}Type")),
        };
        self.checker.variables.insert(name.into(), wrap(declared.clone()));
        self.variables.push((name.into(), declaration.clone(), declared));
        let types = self
            .variables
            .iter()
            .map(|(name, declaration, _)| SelfTypes::new(format!("{name}Type"), declaration.clone()));
        self.checker.provider = Arc::new(Objects(types.collect()));
        self
    }

    /// The sizes of values: those of the first variable, as in kube-apiserver.
    pub(crate) fn sizes(&self) -> &dyn Sizes {
        self.variables.first().map_or(&Unknown, |(_, declaration, _)| declaration)
    }
}

/// Nothing is known about sizes.
struct Unknown;

impl Sizes for Unknown {
    fn max_size(&self, _: &[&str]) -> Option<u64> {
        None
    }
}

/// The object types of all variables.
#[derive(Debug, Default)]
struct Objects(Vec<SelfTypes>);

impl Provider for Objects {
    fn has_type(&self, name: &str) -> bool {
        self.0.iter().any(|types| types.has_type(name))
    }

    fn field(&self, type_name: &str, field: &str) -> Option<Type> {
        self.0.iter().find_map(|types| types.field(type_name, field))
    }
}
