//! The walk over the tree, which finds the path and the size of each expression.

use std::collections::HashMap;

use super::{
    estimate::{Estimate, NEW_LIST, NEW_MAP, NEW_STRUCT},
    path::{Path, Paths},
    sizes::Sizes,
};
use crate::{
    check::{Checked, Reference},
    syntax::{Comprehension, Expr, Id, Kind, Literal},
    types::{OPTIONAL, Type},
};

pub(super) struct Walk<'a> {
    checked: &'a Checked,
    sizes: &'a dyn Sizes,
    paths: Paths<'a>,
    known: HashMap<Id, Known>,
    /// The variables of macros, the innermost last.
    locals: HashMap<&'a str, Vec<Local>>,
}

/// What is known of an expression.
#[derive(Clone, Copy, Default)]
struct Known {
    path: Option<Path>,
    size: Option<Estimate>,
    entry: Option<Entry>,
}

#[derive(Clone, Copy)]
struct Local {
    path: Option<Path>,
    size: Option<Estimate>,
    entry: Option<Entry>,
}

/// The sizes of what is inside a list or map that the expression creates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    container: Container,
    key: Estimate,
    value: Estimate,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Container {
    List,
    Map,
}

/// What a variable of a comprehension takes from a list or map.
#[derive(Clone, Copy)]
enum Inside {
    Key,
    Value,
    /// The elements of a list, the keys of a map.
    Either,
}

/// An argument or target, with what was known of it when it was reached.
pub(super) struct Node<'a> {
    pub(super) expr: &'a Expr,
    pub(super) kind: &'a Type,
    pub(super) path: Option<Path>,
    /// The size that the expression or its declaration gives.
    pub(super) size: Option<Estimate>,
}

/// A call, by one of its overloads.
pub(super) struct Call<'a, 'n> {
    pub(super) id: Id,
    pub(super) function: &'a str,
    pub(super) overload: &'a str,
    pub(super) target: Option<&'n Node<'a>>,
    pub(super) args: &'n [Node<'a>],
    /// The costs of the arguments.
    pub(super) costs: &'n [Estimate],
}

/// The estimate of a call.
#[derive(Debug, PartialEq)]
pub(super) struct CallEstimate {
    pub(super) cost: Estimate,
    /// The size of the result, if the call determines it.
    pub(super) size: Option<Estimate>,
}

impl CallEstimate {
    pub(super) fn new(cost: Estimate) -> Self {
        Self { cost, size: None }
    }

    pub(super) fn sized(cost: Estimate, size: Estimate) -> Self {
        Self { cost, size: Some(size) }
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(checked: &'a Checked, sizes: &'a dyn Sizes) -> Self {
        Self { checked, sizes, paths: Paths::default(), known: HashMap::new(), locals: HashMap::new() }
    }

    pub(super) fn cost(&mut self, expr: &'a Expr) -> Estimate {
        match &expr.kind {
            Kind::Literal(_) => Estimate::ZERO,
            Kind::Ident(name) => {
                let path = match self.local(name) {
                    Some(local) => local.path,
                    None => Some(self.paths.variable(name)),
                };
                self.known(expr).path = path;
                Estimate::ONE
            }
            Kind::Select { operand, test_only: true, .. } => self.cost(operand),
            Kind::Select { operand, field, test_only: false } => {
                let cost = self.cost(operand);
                let own = match self.type_of(operand) {
                    Type::Map(_) | Type::Object(_) | Type::Param(_) => Estimate::ONE,
                    _ => Estimate::ZERO,
                };
                let path = self.paths.extend(self.path(operand), field);
                self.known(expr).path = Some(path);
                cost.plus(own)
            }
            Kind::Call { function, target, args } => self.call(expr, function, target.as_deref(), args),
            Kind::List { elements, .. } => {
                let (cost, size) = self.cost_and_size(elements);
                self.known(expr).entry =
                    Some(Entry { container: Container::List, key: Estimate::ONE, value: size });
                cost.plus(NEW_LIST)
            }
            Kind::Map(entries) => {
                let mut cost = NEW_MAP;
                let empty = if entries.is_empty() { Estimate::ZERO } else { Estimate::EMPTY };
                let (mut key, mut value) = (empty, empty);
                for entry in entries {
                    cost = cost.plus(self.cost(&entry.key)).plus(self.cost(&entry.value));
                    key = key.union(self.size_or_unknown(&entry.key));
                    value = value.union(self.size_or_unknown(&entry.value));
                }
                self.known(expr).entry = Some(Entry { container: Container::Map, key, value });
                cost
            }
            Kind::Struct { fields, .. } => {
                fields.iter().fold(NEW_STRUCT, |cost, field| cost.plus(self.cost(&field.value)))
            }
            Kind::Comprehension(comprehension) if is_bind(comprehension) => self.bind(expr, comprehension),
            Kind::Comprehension(comprehension) => self.comprehension(expr, comprehension),
        }
    }

    /// The cost of the elements of a list, and the size of any of them.
    fn cost_and_size(&mut self, elements: &'a [Expr]) -> (Estimate, Estimate) {
        let mut cost = Estimate::ZERO;
        let mut size = if elements.is_empty() { Estimate::ZERO } else { Estimate::EMPTY };
        for element in elements {
            cost = cost.plus(self.cost(element));
            size = size.union(self.size_or_unknown(element));
        }
        (cost, size)
    }

    fn call(
        &mut self,
        expr: &'a Expr,
        function: &'a str,
        target: Option<&'a Expr>,
        args: &'a [Expr],
    ) -> Estimate {
        if let ("dyn", [arg, ..]) = (function, args) {
            let cost = self.cost(arg);
            self.copy(expr, arg);
            return cost.plus(Estimate::ONE);
        }
        let mut nodes = Vec::with_capacity(args.len());
        let mut costs = Vec::with_capacity(args.len());
        for arg in args {
            costs.push(self.cost(arg));
            nodes.push(self.node(arg));
        }
        let Some(Reference::Overloads(overloads)) = self.checked.references.get(&expr.id) else {
            return Estimate::ZERO;
        };
        let before = target.map_or(Estimate::ZERO, |target| self.cost(target));
        let target = target.map(|target| self.node(target));

        let mut cost = Estimate::EMPTY;
        let mut size: Option<Estimate> = None;
        for overload in overloads {
            let call = Call {
                id: expr.id,
                function,
                overload,
                target: target.as_ref(),
                args: &nodes,
                costs: &costs,
            };
            let estimate = self.overload(&call);
            cost = cost.union(estimate.cost);
            if let Some(other) = estimate.size {
                size = Some(size.map_or(other, |size| size.union(other)));
            }
            let inside = match &**overload {
                "index_list" => Some("@items"),
                "index_map" => Some("@values"),
                _ => None,
            };
            if let (Some(step), [operand, ..]) = (inside, args) {
                size = self.entry(operand).map(|entry| entry.value);
                let path = self.paths.extend(self.path(operand), step);
                self.known(expr).path = Some(path);
            }
            size = size.or_else(|| self.size(expr));
        }
        if size.is_some() {
            self.known(expr).size = size;
        }
        before.plus(cost)
    }

    /// Estimates one overload of a call. The cost of the target is not included.
    fn overload(&mut self, call: &Call<'a, '_>) -> CallEstimate {
        match self.of_library(call).or_else(|| self.of_kubernetes(call)) {
            Some(CallEstimate { cost, size }) => {
                CallEstimate { cost: cost.plus(call.costs.iter().copied().sum()), size }
            }
            None => self.of_language(call),
        }
    }

    fn comprehension(&mut self, expr: &'a Expr, it: &'a Comprehension) -> Estimate {
        let mut cost = self.cost(&it.iter_range).plus(self.cost(&it.accu_init));
        self.push(&it.accu_var, &it.accu_init);

        match &it.iter_var2 {
            Some(second) => {
                self.push_inside(&it.iter_var, &it.iter_range, Inside::Key);
                self.push_inside(second, &it.iter_range, Inside::Value);
            }
            None => self.push_inside(&it.iter_var, &it.iter_range, Inside::Either),
        }
        let turn = self.cost(&it.loop_condition);
        let turn = self.cost(&it.loop_step).plus(turn);
        self.pop(&it.iter_var);
        if let Some(second) = &it.iter_var2 {
            self.pop(second);
        }
        cost = cost.plus(self.cost(&it.result));
        self.pop(&it.accu_var);

        let count = self.size_or_unknown(&it.iter_range);
        match &it.accu_init.kind {
            Kind::Literal(_) => {
                let size = self.size(&it.accu_init);
                self.set_size(expr, size);
            }
            Kind::List { .. } | Kind::Map(_) => {
                self.set_size(expr, Some(count));
                let entry = self.entry(&it.loop_step);
                self.set_entry(expr, entry);
            }
            _ => {}
        }
        cost.plus(count.times(turn))
    }

    /// A variable that is bound for one expression, as `optMap` does it.
    fn bind(&mut self, expr: &'a Expr, it: &'a Comprehension) -> Estimate {
        let mut cost = self.cost(&it.iter_range).plus(self.cost(&it.accu_init));
        self.push(&it.accu_var, &it.accu_init);
        cost = cost.plus(self.cost(&it.result));
        self.pop(&it.accu_var);
        self.copy(expr, &it.result);
        cost
    }

    fn push(&mut self, name: &'a str, value: &'a Expr) {
        let path = self.path(value);
        let entry = self.entry(value);
        let size = self.size(value);
        self.locals.entry(name).or_default().push(Local { path, size, entry });
    }

    fn push_inside(&mut self, name: &'a str, range: &'a Expr, inside: Inside) {
        let entry = self.entry(range);
        let is_list = match entry {
            Some(entry) => entry.container == Container::List,
            None => matches!(self.type_of(range), Type::List(_)),
        };
        let is_value = match inside {
            Inside::Key => false,
            Inside::Value => true,
            Inside::Either => is_list,
        };
        let step = match (is_list, is_value) {
            (true, true) => "@items",
            (true, false) => "@indices",
            (false, true) => "@values",
            (false, false) => "@keys",
        };
        let size = entry.map(|entry| if is_value { entry.value } else { entry.key });
        let path = Some(self.paths.extend(self.path(range), step));
        self.locals.entry(name).or_default().push(Local { path, size, entry: None });
    }

    fn pop(&mut self, name: &str) {
        if let Some(locals) = self.locals.get_mut(name) {
            locals.pop();
        }
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.get(name)?.last()
    }

    fn local_of(&self, expr: &Expr) -> Option<&Local> {
        match &expr.kind {
            Kind::Ident(name) => self.local(name),
            _ => None,
        }
    }

    fn known(&mut self, expr: &Expr) -> &mut Known {
        self.known.entry(expr.id).or_default()
    }

    fn set_size(&mut self, expr: &Expr, size: Option<Estimate>) {
        if size.is_some() {
            self.known(expr).size = size;
        }
    }

    pub(super) fn set_entry_by_id(&mut self, id: Id, entry: Option<Entry>) {
        if entry.is_some() {
            self.known.entry(id).or_default().entry = entry;
        }
    }

    fn set_entry(&mut self, expr: &Expr, entry: Option<Entry>) {
        self.set_entry_by_id(expr.id, entry);
    }

    /// `to` has the size of `from`.
    fn copy(&mut self, to: &Expr, from: &'a Expr) {
        let size = self.size(from);
        self.set_size(to, size);
        let entry = self.entry(from);
        self.set_entry(to, entry);
    }

    fn node(&mut self, expr: &'a Expr) -> Node<'a> {
        Node { expr, kind: self.type_of(expr), path: self.path(expr), size: self.size(expr) }
    }

    pub(super) fn type_of(&self, expr: &Expr) -> &'a Type {
        self.checked.types.get(&expr.id).unwrap_or(&Type::Dyn)
    }

    fn path(&self, expr: &Expr) -> Option<Path> {
        match self.local_of(expr) {
            Some(local) => local.path,
            None => self.known.get(&expr.id)?.path,
        }
    }

    pub(super) fn entry(&self, expr: &Expr) -> Option<Entry> {
        let known = self.known.get(&expr.id).and_then(|known| known.entry);
        known.or_else(|| self.local_of(expr)?.entry)
    }

    fn size_or_unknown(&mut self, expr: &Expr) -> Estimate {
        self.size(expr).unwrap_or(Estimate::UNKNOWN)
    }

    fn size(&mut self, expr: &Expr) -> Option<Estimate> {
        let known = self.known.get(&expr.id).and_then(|known| known.size);
        if let Some(size) = known.or_else(|| written_size(expr)) {
            return Some(size);
        }
        if let Some(size) = self.declared(self.path(expr)) {
            // Later answers are the same, whatever becomes of the path.
            self.known(expr).size = Some(size);
            return Some(size);
        }
        if is_scalar(self.type_of(expr)) {
            return Some(Estimate::ONE);
        }
        self.local_of(expr)?.size
    }

    fn declared(&self, path: Option<Path>) -> Option<Estimate> {
        Some(Estimate { min: 0, max: self.sizes.max_size(self.paths.steps(path?))? })
    }

    /// The size of an argument or target, as libraries see it.
    pub(super) fn size_of(&self, node: &Node<'_>) -> Estimate {
        node.size.or_else(|| self.declared(node.path)).unwrap_or(Estimate::UNKNOWN)
    }

    /// The size of the elements of a list, by their declaration.
    pub(super) fn size_of_elements(&self, list: &Node<'_>) -> Estimate {
        let size = list.path.and_then(|path| {
            let steps: Vec<_> = self.paths.steps(path).iter().copied().chain(["@items"]).collect();
            self.sizes.max_size(&steps)
        });
        size.map_or(Estimate::UNKNOWN, |max| Estimate { min: 0, max })
    }
}

impl Entry {
    pub(super) fn union(left: Option<Self>, right: Option<Self>) -> Option<Self> {
        let (left, right) = (left?, right?);
        let (key, value) = (left.key.union(right.key), left.value.union(right.value));
        Some(Self { container: left.container, key, value })
    }
}

/// Whether the loop never runs, because its only purpose is to bind a variable.
fn is_bind(it: &Comprehension) -> bool {
    matches!(&it.iter_range.kind, Kind::List { elements, .. } if elements.is_empty())
        && it.loop_condition.kind.is_false()
        && &*it.accu_var != "__result__"
}

impl Kind {
    fn is_false(&self) -> bool {
        matches!(self, Self::Literal(Literal::Bool(false)))
    }
}

/// The size of a value that is written out.
fn written_size(expr: &Expr) -> Option<Estimate> {
    let size = match &expr.kind {
        Kind::Literal(Literal::String(text)) => text.chars().count(),
        Kind::Literal(Literal::Bytes(bytes)) => bytes.len(),
        Kind::Literal(_) => 1,
        Kind::List { elements, .. } => elements.len(),
        Kind::Map(entries) => entries.len(),
        _ => return None,
    };
    Some(Estimate::fixed(size as u64))
}

/// Whether all values of the type have the same size.
fn is_scalar(kind: &Type) -> bool {
    match kind {
        Type::Bool | Type::Int | Type::Uint | Type::Double | Type::Duration | Type::Timestamp => true,
        Type::Nullable(inner) => is_scalar(inner),
        Type::Opaque(name, parameters) if &**name == OPTIONAL => parameters.first().is_some_and(is_scalar),
        _ => false,
    }
}
