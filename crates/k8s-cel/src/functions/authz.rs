//! Checks of authorization: apiserver's `authz.go`.

use std::{fmt, sync::Arc};

use kube_validation::names;

use super::arguments::{Table, text};
use crate::{
    types::Type,
    value::{Error, Evaluated, Opaque, Value},
};

/// Answers the authorization checks of expressions.
///
/// Expressions have it as a variable: [`Variables::with_authorizer`](crate::Variables::with_authorizer). It is asked once for
/// each `check(verb)` that an evaluation gets to, on the thread of the evaluation.
pub trait Authorizer: fmt::Debug + Send + Sync {
    /// Decides about a check.
    fn authorize(&self, check: &Check) -> Decision;
}

/// What an [`Authorizer`] decides about.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Check {
    /// Whom the check is about. `None` is the user who sent the request.
    pub user: Option<ServiceAccount>,
    /// The verb, such as `list`, or `get` for a path. It is not validated.
    pub verb: String,
    /// What the user wants to access.
    pub target: Target,
}

/// What a check is about.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Target {
    /// A path of the server that is not a resource, such as `/healthz`.
    Path(String),
    /// A resource, in any version of its group.
    Resource(ResourceAttributes),
}

/// The resource of a check. Empty texts are absent: the core group, all namespaces, all names.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct ResourceAttributes {
    /// The API group.
    pub group: String,
    /// The plural name, such as `pods`.
    pub resource: String,
    /// The subresource, such as `status`.
    pub subresource: String,
    /// The namespace.
    pub namespace: String,
    /// The name of the object.
    pub name: String,
    /// The field selector as the expression has it. It may be invalid: kube-apiserver's authorizers then ignore it.
    pub field_selector: String,
    /// The label selector as the expression has it. It may be invalid: kube-apiserver's authorizers then ignore it.
    pub label_selector: String,
}

/// A service account whose authorization an expression asks for. Both names are valid.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ServiceAccount {
    /// The namespace of the account.
    pub namespace: String,
    /// The name of the account.
    pub name: String,
}

/// The answer to a [`Check`].
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Decision {
    /// Whether the access is allowed: `allowed()`.
    pub allowed: bool,
    /// The reason, or nothing: `reason()`.
    pub reason: String,
    /// Why the check failed, if it did: `error()` and `errored()`. The evaluation goes on.
    pub error: Option<String>,
}

pub(super) const TABLE: Table = &[
    ("authorizer_path", |args| {
        let user = receiver::<User>(args)?;
        let path = text(args, 1)?;
        if path.trim().is_empty() {
            return Err(Error::new("path must not be empty"));
        }
        Ok(Value::opaque(PathCheck { user: user.clone(), path: path.to_owned() }))
    }),
    ("authorizer_group", |args| {
        let user = receiver::<User>(args)?.clone();
        Ok(Value::opaque(GroupCheck { user, group: text(args, 1)?.to_owned() }))
    }),
    ("authorizer_serviceaccount", |args| {
        let user = receiver::<User>(args)?;
        let (namespace, name) = (text(args, 1)?, text(args, 2)?);
        if !names::dns1123_subdomain(name).is_empty() {
            return Err(Error::new("Invalid service account name"));
        }
        if !names::dns1123_label(namespace).is_empty() {
            return Err(Error::new("Invalid service account namespace"));
        }
        let account = ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() };
        Ok(Value::opaque(User { authorizer: Arc::clone(&user.authorizer), account: Some(account) }))
    }),
    ("groupcheck_resource", |args| {
        let GroupCheck { user, group } = receiver(args)?;
        let resource = text(args, 1)?;
        if resource.trim().is_empty() {
            return Err(Error::new("resource must not be empty"));
        }
        let (group, resource) = (group.clone(), resource.to_owned());
        let attributes = ResourceAttributes { group, resource, ..ResourceAttributes::default() };
        Ok(Value::opaque(ResourceCheck { user: user.clone(), attributes }))
    }),
    ("resourcecheck_subresource", |args| narrowed(args, |resource, text| resource.subresource = text)),
    ("resourcecheck_namespace", |args| narrowed(args, |resource, text| resource.namespace = text)),
    ("resourcecheck_name", |args| narrowed(args, |resource, text| resource.name = text)),
    ("authorizer_fieldselector", |args| narrowed(args, |resource, text| resource.field_selector = text)),
    ("authorizer_labelselector", |args| narrowed(args, |resource, text| resource.label_selector = text)),
    ("pathcheck_check", |args| {
        let PathCheck { user, path } = receiver(args)?;
        Ok(user.check(text(args, 1)?, Target::Path(path.clone())))
    }),
    ("resourcecheck_check", |args| {
        let ResourceCheck { user, attributes } = receiver(args)?;
        Ok(user.check(text(args, 1)?, Target::Resource(attributes.clone())))
    }),
    ("decision_allowed", |args| Ok(Value::Bool(receiver::<Decision>(args)?.allowed))),
    ("decision_reason", |args| Ok(Value::string(receiver::<Decision>(args)?.reason.clone()))),
    ("decision_errored", |args| Ok(Value::Bool(receiver::<Decision>(args)?.error.is_some()))),
    ("decision_error", |args| {
        Ok(Value::string(receiver::<Decision>(args)?.error.clone().unwrap_or_default()))
    }),
];

/// The value of the variable `authorizer`.
pub(crate) fn authorizer<'a>(authorizer: Arc<dyn Authorizer>) -> Value<'a> {
    Value::opaque(User { authorizer, account: None })
}

/// The value of the variable `authorizer.requestResource`.
pub(crate) fn resource_check<'a>(
    authorizer: Arc<dyn Authorizer>,
    attributes: ResourceAttributes,
) -> Value<'a> {
    Value::opaque(ResourceCheck { user: User { authorizer, account: None }, attributes })
}

/// An authorizer with whom it is asked about.
#[derive(Clone, Debug)]
struct User {
    authorizer: Arc<dyn Authorizer>,
    account: Option<ServiceAccount>,
}

#[derive(Debug)]
struct PathCheck {
    user: User,
    path: String,
}

#[derive(Debug)]
struct GroupCheck {
    user: User,
    group: String,
}

#[derive(Clone, Debug)]
struct ResourceCheck {
    user: User,
    attributes: ResourceAttributes,
}

impl User {
    fn check<'a>(&self, verb: &str, target: Target) -> Value<'a> {
        let check = Check { user: self.account.clone(), verb: verb.to_owned(), target };
        Value::opaque(self.authorizer.authorize(&check))
    }
}

fn receiver<'b, T: Opaque>(args: &'b [Value<'_>]) -> Result<&'b T, Error> {
    args.first().and_then(Value::downcast).ok_or_else(Error::no_such_overload)
}

/// The check with another attribute.
fn narrowed<'a>(args: &[Value<'a>], set: impl Fn(&mut ResourceAttributes, String)) -> Evaluated<'a> {
    let mut check = receiver::<ResourceCheck>(args)?.clone();
    set(&mut check.attributes, text(args, 1)?.to_owned());
    Ok(Value::opaque(check))
}

/// These values have methods only. As in kube-apiserver, not even a value itself is equal to it.
macro_rules! receivers {
    ($($type:ty: $name:literal, $go:literal;)*) => {$(
        impl Opaque for $type {
            fn type_of(&self) -> Type {
                Type::object(concat!("kubernetes.authorization.", $name))
            }

            fn equal(&self, _: &Value<'_>) -> Result<bool, Error> {
                Err(Error::no_such_overload())
            }

            fn display(&self) -> String {
                "no such overload".to_owned()
            }

            fn go_type(&self) -> &'static str {
                $go
            }
        }
    )*};
}

receivers! {
    User: "Authorizer", "library.authorizerVal";
    PathCheck: "PathCheck", "library.pathCheckVal";
    GroupCheck: "GroupCheck", "library.groupCheckVal";
    ResourceCheck: "ResourceCheck", "library.resourceCheckVal";
    Decision: "Decision", "library.decisionVal";
}
