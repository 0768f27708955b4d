//! Which types stand for the parameters of generic functions and for the elements of empty lists and maps.

use std::{cell::Cell, collections::HashMap, sync::Arc};

use crate::types::{OPTIONAL, Type};

/// Types that parameters were found to stand for while an expression is checked.
pub(super) struct Substitution {
    bound: HashMap<Arc<str>, Type>,
    /// What `bound` had before the attempt that is under way.
    undo: Vec<(Arc<str>, Option<Type>)>,
    parameters: usize,
    /// How many more types may be visited. Types double where an expression nests `{x: x}`, so that cel-go never ends with an
    /// expression of a few hundred characters.
    work: Cell<usize>,
}

/// Whether a type can stand for a parameter.
enum Binding {
    Valid,
    /// The parameter stands for another type.
    Conflict,
    /// The type contains the parameter.
    Recursive,
}

impl Substitution {
    pub(super) fn new(work: usize) -> Self {
        Self { bound: HashMap::new(), undo: Vec::new(), parameters: 0, work: Cell::new(work) }
    }

    /// A parameter that stands for nothing yet.
    pub(super) fn parameter(&mut self) -> Type {
        let name = format!("_var{}", self.parameters);
        self.parameters += 1;
        Type::param(&name)
    }

    /// Whether the types took too much work. What this substitution answers then means nothing.
    pub(super) fn exhausted(&self) -> bool {
        self.work.get() == 0
    }

    fn spend(&self) {
        self.work.set(self.work.get().saturating_sub(1));
    }

    /// Whether a value of the type `from` fits `to`. If it does, parameters are bound so that the types agree.
    pub(super) fn assignable(&mut self, to: &Type, from: &Type) -> bool {
        self.attempt(|this| this.unify(to, from))
    }

    /// The same for the types of arguments.
    pub(super) fn all_assignable(&mut self, to: &[Type], from: &[Type]) -> bool {
        to.len() == from.len() && self.attempt(|this| this.unify_all(to, from))
    }

    fn attempt(&mut self, unify: impl FnOnce(&mut Self) -> bool) -> bool {
        self.undo.clear();
        let fits = unify(self);
        if !fits {
            while let Some((name, previous)) = self.undo.pop() {
                match previous {
                    Some(previous) => self.bound.insert(name, previous),
                    None => self.bound.remove(&name),
                };
            }
        }
        fits
    }

    fn unify_all(&mut self, left: &[Type], right: &[Type]) -> bool {
        left.len() == right.len() && left.iter().zip(right).all(|(left, right)| self.unify(left, right))
    }

    fn unify(&mut self, left: &Type, right: &Type) -> bool {
        if self.exhausted() {
            return true;
        }
        self.spend();
        if let Type::Param(name) = right {
            match self.bind(name, right, left) {
                Binding::Valid => return true,
                Binding::Conflict => return false,
                Binding::Recursive => {}
            }
        }
        if let Type::Param(name) = left {
            return matches!(self.bind(name, left, right), Binding::Valid);
        }
        if is_dyn_or_error(left) || is_dyn_or_error(right) {
            return true;
        }
        match (left, right) {
            (Type::Null, other) | (other, Type::Null) => takes_null(other),
            (Type::Meta(_), Type::Meta(_)) => true,
            (Type::List(left), Type::List(right)) => self.unify(left, right),
            (Type::Map(left), Type::Map(right)) => {
                self.unify(&left.0, &right.0) && self.unify(&left.1, &right.1)
            }
            (Type::Opaque(left, left_parameters), Type::Opaque(right, right_parameters)) => {
                left == right && self.unify_all(left_parameters, right_parameters)
            }
            _ => self.exact(left, right),
        }
    }

    /// Lets `parameter`, whose name is `name`, stand for `other`, if it can.
    fn bind(&mut self, name: &Arc<str>, parameter: &Type, other: &Type) -> Binding {
        if self.exact(other, parameter) {
            return Binding::Valid;
        }
        let other = match self.bound.get(name).cloned() {
            None if self.contains(other, parameter) => return Binding::Recursive,
            None => other.clone(),
            Some(current) if self.exact(other, &current) => return Binding::Valid,
            Some(current) if !self.unify(other, &current) => return Binding::Conflict,
            Some(current) => self.most_general(other, &current).clone(),
        };
        if !self.contains(&other, parameter) {
            let previous = self.bound.insert(name.clone(), other);
            self.undo.push((name.clone(), previous));
        }
        Binding::Valid
    }

    /// Whether a type has the parameter in it, or in the types that its own parameters stand for.
    fn contains(&self, within: &Type, parameter: &Type) -> bool {
        let mut within = within;
        loop {
            if self.exhausted() {
                return false;
            }
            self.spend();
            let Type::Param(name) = within else { break };
            if within == parameter {
                return true;
            }
            match self.bound.get(name) {
                Some(bound) => within = bound,
                None => return false,
            }
        }
        within.parameters().into_iter().any(|inner| self.contains(inner, parameter))
    }

    /// The type with everything that its parameters stand for.
    pub(super) fn apply(&self, of: &Type) -> Type {
        self.replace(of, &|parameter| parameter.clone())
    }

    /// The same at the end: what is still unknown is dynamic.
    pub(super) fn finish(&self, of: &Type) -> Type {
        self.replace(of, &|_| Type::Dyn)
    }

    fn replace(&self, of: &Type, unbound: &dyn Fn(&Type) -> Type) -> Type {
        let mut of = of;
        loop {
            if self.exhausted() {
                return Type::Dyn;
            }
            self.spend();
            let Type::Param(name) = of else { break };
            match self.bound.get(name) {
                Some(bound) => of = bound,
                None => return unbound(of),
            }
        }
        with_parameters(of, &mut |inner| self.replace(inner, unbound))
    }

    /// A signature with fresh parameters, so that each call finds its own types.
    pub(super) fn instantiate(&mut self, args: &[Type], result: &Type) -> (Vec<Type>, Type) {
        let mut fresh = Vec::new();
        let result = self.rename(result, &mut fresh);
        (args.iter().map(|arg| self.rename(arg, &mut fresh)).collect(), result)
    }

    fn rename(&mut self, of: &Type, fresh: &mut Vec<(Arc<str>, Type)>) -> Type {
        let Type::Param(name) = of else {
            return with_parameters(of, &mut |inner| self.rename(inner, fresh));
        };
        match fresh.iter().find(|(known, _)| known == name) {
            Some((_, parameter)) => parameter.clone(),
            None => {
                let parameter = self.parameter();
                fresh.push((name.clone(), parameter.clone()));
                parameter
            }
        }
    }

    /// Whether a type has at most so many types in it.
    pub(super) fn fits(&self, of: &Type, most: usize) -> bool {
        fn count(this: &Substitution, of: &Type, left: &mut usize) {
            if *left > 0 {
                *left -= 1;
                this.spend();
                of.parameters().into_iter().for_each(|inner| count(this, inner, left));
            }
        }
        let mut left = most;
        count(self, of, &mut left);
        left > 0
    }

    pub(super) fn exact(&self, left: &Type, right: &Type) -> bool {
        same(left, right, &|| {
            self.spend();
            self.exhausted()
        })
    }

    /// Of two types that agree, the one that says less.
    pub(super) fn most_general<'t>(&self, left: &'t Type, right: &'t Type) -> &'t Type {
        if self.says_no_more(left, right) { left } else { right }
    }

    fn says_no_more(&self, left: &Type, right: &Type) -> bool {
        if self.exhausted() {
            return true;
        }
        self.spend();
        if is_dyn(left) || matches!(left, Type::Param(_)) {
            return true;
        }
        if is_dyn(right) || matches!(right, Type::Param(_)) {
            return false;
        }
        match (left, right) {
            (Type::Meta(_), Type::Meta(_)) => true,
            (Type::List(left), Type::List(right)) => self.says_no_more(left, right),
            (Type::Map(left), Type::Map(right)) => {
                self.says_no_more(&left.0, &right.0) && self.says_no_more(&left.1, &right.1)
            }
            (Type::Opaque(left, left_parameters), Type::Opaque(right, right_parameters)) => {
                left == right
                    && left_parameters.len() == right_parameters.len()
                    && left_parameters
                        .iter()
                        .zip(right_parameters.iter())
                        .all(|(left, right)| self.says_no_more(left, right))
            }
            _ => self.exact(left, right),
        }
    }
}

/// Whether the types are the same. A nullable type is the same as the one that it wraps. `stop` is asked for each type in them
/// whether to stop there.
pub(super) fn same(left: &Type, right: &Type, stop: &impl Fn() -> bool) -> bool {
    if stop() {
        return true;
    }
    match (not_null(left), not_null(right)) {
        (Type::List(left), Type::List(right)) => same(left, right, stop),
        (Type::Map(left), Type::Map(right)) => same(&left.0, &right.0, stop) && same(&left.1, &right.1, stop),
        (Type::Meta(Some(left)), Type::Meta(Some(right))) => same(left, right, stop),
        (Type::Opaque(left, left_parameters), Type::Opaque(right, right_parameters)) => {
            left == right
                && left_parameters.len() == right_parameters.len()
                && left_parameters
                    .iter()
                    .zip(right_parameters.iter())
                    .all(|(left, right)| same(left, right, stop))
        }
        (left, right) => left == right,
    }
}

/// A type with other parameters.
fn with_parameters(of: &Type, parameter: &mut dyn FnMut(&Type) -> Type) -> Type {
    match of {
        Type::List(element) => Type::list(parameter(element)),
        Type::Map(entry) => Type::map(parameter(&entry.0), parameter(&entry.1)),
        Type::Meta(Some(inner)) => Type::type_of(parameter(inner)),
        Type::Opaque(name, parameters) => {
            Type::Opaque(name.clone(), parameters.iter().map(parameter).collect())
        }
        other => other.clone(),
    }
}

fn not_null(of: &Type) -> &Type {
    match of {
        Type::Nullable(inner) => inner,
        other => other,
    }
}

/// cel-go keeps what its first checker took null for, besides wrappers.
fn takes_null(of: &Type) -> bool {
    match of {
        Type::Null
        | Type::Nullable(_)
        | Type::Object(_)
        | Type::Opaque(..)
        | Type::Duration
        | Type::Timestamp => true,
        Type::Dyn
        | Type::Any
        | Type::Error
        | Type::Bool
        | Type::Int
        | Type::Uint
        | Type::Double
        | Type::String
        | Type::Bytes
        | Type::List(_)
        | Type::Map(_)
        | Type::Meta(_)
        | Type::Param(_) => false,
    }
}

pub(super) fn is_dyn(of: &Type) -> bool {
    matches!(of, Type::Dyn | Type::Any)
}

pub(super) fn is_dyn_or_error(of: &Type) -> bool {
    matches!(of, Type::Dyn | Type::Any | Type::Error)
}

/// What an optional type has in it.
pub(super) fn optional_value(of: &Type) -> Option<&Type> {
    match of {
        Type::Opaque(name, parameters) if &**name == OPTIONAL => parameters.first(),
        _ => None,
    }
}
