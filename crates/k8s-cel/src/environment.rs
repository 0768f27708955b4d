//! What an expression may use.

use std::sync::Arc;

use crate::{
    check,
    cost::Sizes,
    eval::Dialect,
    library::{self, Level, Libraries},
    policy::{self, PolicyTypes},
    schema::{Declaration, SelfTypes},
    syntax::{Extension, Options, RESERVED},
    types::{Function, Overload, Provider, Type, is_name},
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
    objects: Arc<Objects>,
}

impl Environment {
    /// The environment of kube-apiserver 1.`minor`, for CRDs' validation rules and for policies. Versions before 1.31 get the
    /// functions of 1.31, versions after 1.37 those of 1.37.
    #[must_use]
    pub fn kubernetes(minor: u32, origin: Origin) -> Self {
        Self::new(Libraries::Kubernetes(level(minor, origin)), Dialect::Kubernetes)
    }

    /// The environment of cel-spec and cel-go's libraries, among them `math` and `base64`, which Kubernetes does not have: for
    /// programs that use CEL for their own purposes. Constant parts are computed by the compiler and cost nothing.
    #[must_use]
    pub fn specification() -> Self {
        Self::new(Libraries::Conformance, Dialect::Specification)
    }

    /// The environment of validating admission policies and of the match conditions of webhooks in kube-apiserver 1.`minor`.
    ///
    /// It has the variables `object` and `oldObject`, about whose types nothing is known, `request`, and `namespaceObject`.
    /// [`Self::with_params`], [`Self::with_authorizer`] and [`Self::with_policy_variable`] add the others. In an evaluation, all
    /// of them are data without a schema ([`Declaration::dynamic`]): also a timestamp of `namespaceObject` is a string.
    ///
    /// To check expressions against the type of the object, as kube-apiserver does for warnings in the status of a policy,
    /// declare `object` and `oldObject` again: [`Self::with_variable`].
    #[must_use]
    pub fn policy(minor: u32, origin: Origin) -> Self {
        Self::of_policy(Self::kubernetes(minor, origin), PolicyTypes::default())
    }

    /// The environment of mutating admission policies: that of [`Self::policy`], with the function `jsonpatch.escapeKey` and
    /// the types that mutations are made of.
    ///
    /// These types are `JSONPatch`, and `Object`, `Object.spec` and so on for the parts of an object. An expression of a policy has
    /// the type `list(JSONPatch)` or `Object` ([`Self::with_result`]), which [`Value::to_json_patch`](crate::Value::to_json_patch)
    /// and [`Value::to_apply_configuration`](crate::Value::to_apply_configuration) convert.
    #[must_use]
    pub fn mutating_policy(minor: u32, origin: Origin) -> Self {
        let environment = Self::new(Libraries::Mutation(level(minor, origin)), Dialect::Kubernetes);
        Self::of_policy(environment, PolicyTypes::of_mutations())
    }

    fn of_policy(mut environment: Self, types: PolicyTypes) -> Self {
        environment.declare_types([
            ("object", Type::Dyn),
            ("oldObject", Type::Dyn),
            ("namespaceObject", Type::object("kubernetes.Namespace")),
            ("request", Type::object("kubernetes.AdmissionRequest")),
        ]);
        environment.change_objects(|objects| objects.policy = Some(types))
    }

    /// Declares `params`: the object that the binding of a policy refers to, or null. Nothing is known about its type.
    #[must_use]
    pub fn with_params(mut self) -> Self {
        self.declare_types([("params", Type::Dyn)]);
        self
    }

    /// Declares `authorizer` and `authorizer.requestResource`. An evaluation takes their values from
    /// [`Variables::with_authorizer`](crate::Variables::with_authorizer) and
    /// [`Variables::with_resource_check`](crate::Variables::with_resource_check).
    #[must_use]
    pub fn with_authorizer(mut self) -> Self {
        self.declare_types([
            ("authorizer", Type::object("kubernetes.authorization.Authorizer")),
            ("authorizer.requestResource", Type::object("kubernetes.authorization.ResourceCheck")),
        ]);
        self
    }

    /// Declares `variables`, without any field. Policies always have it; webhooks' match conditions do not.
    #[must_use]
    pub fn with_policy_variables(mut self) -> Self {
        self.declare_types([("variables", Type::object(policy::VARIABLES))]);
        self.change_objects(|objects| {
            objects.policy.get_or_insert_default().declare_variables();
        })
    }

    pub(crate) fn declare_policy_variable(self, name: &str, declared: Type) -> Self {
        let environment = if self.checker.variables.contains_key("variables") {
            self
        } else {
            self.with_policy_variables()
        };
        environment.change_objects(|objects| {
            objects.policy.get_or_insert_default().declare_variables().insert(name.into(), declared);
        })
    }

    fn declare_types<const N: usize>(&mut self, types: [(&str, Type); N]) {
        self.checker.variables.extend(types.map(|(name, declared)| (name.into(), declared)));
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
            objects: Arc::default(),
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
    /// Returns `None` if the text is not a type that the environment has, or if no expression can use such a name. A name may
    /// have dots, as `request.user` does.
    #[must_use]
    pub fn with_typed_variable(mut self, name: &str, declared: &str) -> Option<Self> {
        let declared = self.parse_type(declared)?;
        if !can_be_named(name) {
            return None;
        }
        self.checker.variables.insert(name.into(), declared);
        Some(self)
    }

    /// Reads a type all of whose parts are known.
    fn parse_type(&self, text: &str) -> Option<Type> {
        let declared = Type::parse(text)?;
        let is_unknown = |part: &Type| match part {
            Type::Param(_) => true,
            Type::Object(name) => self.checker.type_named(name).is_none() && !self.has_signature_with(part),
            Type::Opaque(..) => !self.has_signature_with(part),
            _ => false,
        };
        (!declared.any(&is_unknown)).then_some(declared)
    }

    /// Whether a function takes or returns values of a library's type.
    fn has_signature_with(&self, library: &Type) -> bool {
        let is_same = |part: &Type| {
            part.name() == library.name()
                && std::mem::discriminant(part) == std::mem::discriminant(library)
                && part.parameters().len() == library.parameters().len()
        };
        let mut overloads = self.checker.functions.values().flat_map(|function| &function.overloads);
        overloads.any(|overload| overload.args.iter().chain([&overload.result]).any(|arg| arg.any(&is_same)))
    }

    /// Declares a function by the names and the signatures of its overloads, as errors print them: `(int, int) -> bool`,
    /// `string.() -> list(T)`. It has no code: an expression that calls it can be checked, but its evaluation fails.
    ///
    /// Returns `None` if a text is not a signature, or if no expression can use such a name.
    #[must_use]
    pub fn with_function(mut self, name: &str, overloads: &[(&str, &str)]) -> Option<Self> {
        let overloads = overloads.iter().map(|(id, signature)| Overload::parse(id, signature));
        let overloads = overloads.collect::<Option<Vec<_>>>()?;
        let name: Arc<str> = Some(name).filter(|name| can_be_named(name))?.into();
        Arc::make_mut(&mut self.checker.functions)
            .entry(Arc::clone(&name))
            .or_insert_with(|| Function { name, overloads: Vec::new() })
            .overloads
            .extend(overloads);
        Some(self)
    }

    /// The type that an expression must have, as errors print it: `bool` for a rule, `string` for a message.
    ///
    /// Returns `None` if the text is not a type that the environment has.
    #[must_use]
    pub fn with_result(mut self, expected: &str) -> Option<Self> {
        self.result = Some(self.parse_type(expected)?);
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
        let known = self.objects.declared.iter().find(|known| known.declaration().is(declaration));
        let declared = match known {
            Some(known) => known.root_type(),
            None => declaration.type_at(&format!("{name}Type")),
        };
        self.checker.variables.insert(name.into(), wrap(declared));
        let types = SelfTypes::new(format!("{name}Type"), declaration.clone());
        self.change_objects(|objects| objects.declared.push(types))
    }

    fn change_objects(mut self, change: impl FnOnce(&mut Objects)) -> Self {
        // What only this environment has is changed in place.
        self.checker.provider = Arc::new(Objects::default());
        change(Arc::make_mut(&mut self.objects));
        self.checker.provider = self.objects.clone();
        self
    }

    /// The sizes of values: those of the first variable, as in kube-apiserver.
    pub(crate) fn sizes(&self) -> &dyn Sizes {
        self.objects.declared.first().map_or(&Unknown, |types| types.declaration())
    }
}

fn level(minor: u32, origin: Origin) -> Level {
    match origin {
        Origin::New => Level::of_new_expressions(minor),
        Origin::Stored => Level::of_stored_expressions(minor),
    }
}

/// Whether an expression can use a name. cel-spec declares variables with the names of literals.
fn can_be_named(name: &str) -> bool {
    let is_literal = |part: &str| matches!(part, "true" | "false" | "null");
    is_name(name) && name.split('.').all(|part| is_literal(part) || !RESERVED.contains(&part))
}

/// Nothing is known about sizes.
struct Unknown;

impl Sizes for Unknown {
    fn max_size(&self, _: &[&str]) -> Option<u64> {
        None
    }
}

/// The object types of all variables.
#[derive(Clone, Debug, Default)]
struct Objects {
    /// Those of variables with a declaration, in the order in which they were declared.
    declared: Vec<SelfTypes>,
    policy: Option<PolicyTypes>,
}

impl Provider for Objects {
    fn has_type(&self, name: &str) -> bool {
        self.policy.as_ref().is_some_and(|types| types.has_type(name))
            || self.declared.iter().any(|types| types.has_type(name))
    }

    fn field(&self, type_name: &str, field: &str) -> Option<Type> {
        match &self.policy {
            Some(types) if types.has_type(type_name) => types.field(type_name, field),
            _ => self.declared.iter().find_map(|types| types.field(type_name, field)),
        }
    }
}
