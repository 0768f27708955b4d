//! What an expression may cost at most, for any object that fits its schema: cel-go's `checker.Cost` with the estimates of
//! `k8s.io/apiserver/pkg/cel/library`.
//!
//! The unit is cel-go's: about one step. Costs saturate. Where cel-go asks its type checker, types are found here as far as
//! the estimate depends on them; what stays unknown is dynamic.

mod function;

use std::{collections::HashMap, rc::Rc};

use kube_cel::cel::{
    IdedExpr,
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr},
};

use self::function::Function;
use super::declared::{self, Declared};

const NEW_LIST: u64 = 10;
const NEW_MAP: u64 = 30;
const NEW_STRUCT: u64 = 40;

/// The cost of an expression whose `self` is declared so.
pub(super) fn cost(expression: &IdedExpr, root: &Rc<Declared>, optional_old_self: bool) -> u64 {
    let mut estimate = Estimate { root: Rc::clone(root), optional_old_self, locals: HashMap::new() };
    estimate.node(expression).cost
}

/// The type of an expression.
#[derive(Clone, Debug)]
enum Type {
    Dyn,
    /// Numbers, booleans, times: of one size.
    Scalar,
    String,
    Bytes,
    List(Rc<Type>),
    /// The types of keys and of values.
    Map(Rc<Type>, Rc<Type>),
    Object(Rc<Declared>),
    Optional(Rc<Type>),
    /// A type of Kubernetes' own, by the function that makes it.
    Opaque(&'static str),
}

/// Where in the declarations a value is.
#[derive(Clone, Debug)]
enum Place {
    /// It is made by the expression.
    Nowhere,
    /// Where nothing is declared.
    Lost,
    At(Rc<Declared>),
}

/// How large a value is, from and to.
#[derive(Clone, Copy, Debug)]
struct Size {
    min: u64,
    max: u64,
}

/// How large the keys and values of a list or map are that the expression makes.
#[derive(Clone, Copy, Debug)]
struct Entry {
    is_list: bool,
    key: Size,
    value: Size,
}

/// What is known of a part of the expression.
#[derive(Clone, Debug)]
struct Node {
    cost: u64,
    kind: Type,
    place: Place,
    size: Option<Size>,
    entry: Option<Entry>,
}

struct Estimate<'e> {
    root: Rc<Declared>,
    optional_old_self: bool,
    /// Variables of macros. Their cost is not used.
    locals: HashMap<&'e str, Vec<Node>>,
}

impl<'e> Estimate<'e> {
    fn node(&mut self, expression: &'e IdedExpr) -> Node {
        match &expression.expr {
            Expr::Unspecified => Node::new(0, Type::Dyn),
            Expr::Literal(literal) => Node::literal(literal),
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::List(list) => {
                let items: Vec<_> = list.elements.iter().map(|item| self.node(item)).collect();
                let kind = items.first().map_or(Type::Dyn, |item| item.kind.clone());
                Node {
                    size: Some(Size::fixed(items.len() as u64)),
                    entry: Some(Entry { is_list: true, key: Size::fixed(1), value: Size::of_all(&items) }),
                    ..Node::new(sum(&items).saturating_add(NEW_LIST), Type::List(kind.into()))
                }
            }
            Expr::Map(map) => {
                let (mut keys, mut values) = (Vec::new(), Vec::new());
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        keys.push(self.node(&entry.key));
                        values.push(self.node(&entry.value));
                    }
                }
                let cost = sum(&keys).saturating_add(sum(&values)).saturating_add(NEW_MAP);
                let first = |nodes: &[Node]| nodes.first().map_or(Type::Dyn, |node| node.kind.clone());
                Node {
                    size: Some(Size::fixed(keys.len() as u64)),
                    entry: Some(Entry {
                        is_list: false,
                        key: Size::of_all(&keys),
                        value: Size::of_all(&values),
                    }),
                    ..Node::new(cost, Type::Map(first(&keys).into(), first(&values).into()))
                }
            }
            Expr::Struct(made) => {
                let mut cost = NEW_STRUCT;
                for entry in &made.entries {
                    if let EntryExpr::StructField(field) = &entry.expr {
                        cost = cost.saturating_add(self.node(&field.value).cost);
                    }
                }
                Node::new(cost, Type::Dyn)
            }
        }
    }

    fn variable(&self, name: &str) -> Node {
        if let Some(local) = self.locals.get(name).and_then(|scopes| scopes.last()) {
            let mut node = Node { cost: 1, ..local.clone() };
            // What a place says goes before what the expression says.
            node.size = node.place.size().or(node.kind.size()).or(local.size);
            return node;
        }
        let kind = match name {
            "self" => Type::of(&self.root),
            "oldSelf" if self.optional_old_self => Type::Optional(Type::of(&self.root).into()),
            "oldSelf" => Type::of(&self.root),
            _ => Type::Opaque("type"),
        };
        Node::new(1, kind).at(Place::At(Rc::clone(&self.root)))
    }

    fn select(&mut self, select: &'e SelectExpr) -> Node {
        let operand = self.node(&select.operand);
        if select.test {
            return Node::new(operand.cost, Type::Scalar);
        }
        let own = u64::from(matches!(operand.kind, Type::Map(..) | Type::Object(_)));
        let kind = operand.kind.field(&select.field);
        let place = operand.place.within(&self.root, |declared| declared.field(&select.field));
        Node::new(operand.cost.saturating_add(own), kind).at(place)
    }

    fn comprehension(&mut self, it: &'e ComprehensionExpr) -> Node {
        let range = self.node(&it.iter_range);
        let init = self.node(&it.accu_init);
        let mut cost = range.cost.saturating_add(init.cost);
        self.push(&it.accu_var, init.clone());
        let is_list = range.entry.map_or(matches!(range.kind, Type::List(_)), |entry| entry.is_list);
        let (key, value) = (range.key(is_list, &self.root), range.value(&self.root));
        match &it.iter_var2 {
            Some(second) => {
                self.push(&it.iter_var, key);
                self.push(second, value);
            }
            None => self.push(&it.iter_var, if is_list { value } else { key }),
        }
        let condition = self.node(&it.loop_cond);
        let step = self.node(&it.loop_step);
        self.pop(&it.iter_var);
        if let Some(second) = &it.iter_var2 {
            self.pop(second);
        }
        // What a list is made of shows in the step.
        if let Some(result) = self.locals.get_mut(it.accu_var.as_str()).and_then(|scopes| scopes.last_mut()) {
            result.kind = step.kind.clone();
        }
        let result = self.node(&it.result);
        self.pop(&it.accu_var);

        let times = range.size_or_unknown();
        let turn = step.cost.saturating_add(condition.cost);
        cost = cost.saturating_add(result.cost).saturating_add(times.max.saturating_mul(turn));
        let mut node = Node::new(cost, result.kind);
        match &it.accu_init.expr {
            Expr::Literal(_) => node.size = init.size,
            Expr::List(_) | Expr::Map(_) => {
                node.size = Some(times);
                node.entry = step.entry;
            }
            _ => {}
        }
        node
    }

    fn push(&mut self, name: &'e str, node: Node) {
        self.locals.entry(name).or_default().push(node);
    }

    fn pop(&mut self, name: &str) {
        if let Some(scopes) = self.locals.get_mut(name) {
            scopes.pop();
        }
    }

    fn call(&mut self, call: &'e CallExpr) -> Node {
        let args: Vec<_> = call.args.iter().map(|arg| self.node(arg)).collect();
        // `sets.contains(a, b)` has no target, but a longer name.
        let namespace = match call.target.as_deref().map(|target| &target.expr) {
            Some(Expr::Ident(name)) if super::check::is_namespace(name) && !self.is_variable(name) => {
                Some(name)
            }
            _ => None,
        };
        let name = match namespace {
            Some(namespace) => format!("{namespace}.{}", call.func_name),
            None => call.func_name.clone(),
        };
        let target = match namespace {
            Some(_) => None,
            None => call.target.as_deref().map(|target| self.node(target)),
        };
        if let ("dyn", [arg]) = (name.as_str(), &args[..]) {
            let cost = arg.cost.saturating_add(1);
            return Node { cost, kind: Type::Dyn, place: Place::Nowhere, ..arg.clone() };
        }
        let mut node = Function { name: &name, call, target: target.as_ref(), args: &args }.node(&self.root);
        let before = target.map_or(0, |target| target.cost).saturating_add(sum(&args));
        node.cost = match (name.as_str(), &args[..]) {
            ("_?_:_", [condition, yes, no]) => condition.cost.saturating_add(yes.cost.max(no.cost)),
            _ => node.cost.saturating_add(before),
        };
        node
    }

    fn is_variable(&self, name: &str) -> bool {
        matches!(name, "self" | "oldSelf") || self.locals.get(name).is_some_and(|scopes| !scopes.is_empty())
    }
}

impl Node {
    fn new(cost: u64, kind: Type) -> Self {
        let size = kind.size();
        Self { cost, kind, place: Place::Nowhere, size, entry: None }
    }

    fn literal(literal: &LiteralValue) -> Self {
        let (kind, size) = match literal {
            LiteralValue::String(text) => (Type::String, text.inner().chars().count() as u64),
            LiteralValue::Bytes(bytes) => (Type::Bytes, bytes.inner().len() as u64),
            LiteralValue::Null => (Type::Dyn, 1),
            _ => (Type::Scalar, 1),
        };
        Self { size: Some(Size::fixed(size)), ..Self::new(0, kind) }
    }

    fn at(self, place: Place) -> Self {
        let size = place.size().or(self.size);
        Self { place, size, ..self }
    }

    fn size_or_unknown(&self) -> Size {
        self.size.unwrap_or(Size { min: 0, max: u64::MAX })
    }

    /// How large the items of a list are, by its declaration.
    fn items(&self) -> Size {
        let items = match &self.place {
            Place::At(declared) => declared.element(),
            _ => Place::Lost,
        };
        items.size().unwrap_or(Size { min: 0, max: u64::MAX })
    }

    /// A key of this list or map, as a variable.
    fn key(&self, is_list: bool, root: &Rc<Declared>) -> Self {
        let kind = match &self.kind {
            Type::Map(key, _) => (**key).clone(),
            _ if is_list => Type::Scalar,
            _ => Type::Dyn,
        };
        let place = self.place.within(root, |declared| match &declared.kind {
            declared::Kind::Map(_) if !is_list => Place::At(declared::key()),
            _ => Place::Lost,
        });
        Self { place, size: self.entry.map(|entry| entry.key), ..Self::new(0, kind) }
    }

    /// A value of this list or map, as a variable.
    fn value(&self, root: &Rc<Declared>) -> Self {
        let place = self.place.within(root, Declared::element);
        Self { place, size: self.entry.map(|entry| entry.value), ..Self::new(0, self.kind.element()) }
    }
}

impl Place {
    /// A place inside this one. As in cel-go's estimate, what is inside a value without a place is looked for at the root.
    fn within(&self, root: &Rc<Declared>, inside: impl FnOnce(&Declared) -> Self) -> Self {
        match self {
            Self::Nowhere => Self::At(Rc::clone(root)),
            Self::Lost => Self::Lost,
            Self::At(declared) => inside(declared),
        }
    }

    fn size(&self) -> Option<Size> {
        match self {
            Self::At(declared) => Some(Size { min: 0, max: declared.max }),
            Self::Nowhere | Self::Lost => None,
        }
    }
}

impl Declared {
    fn field(&self, name: &str) -> Place {
        match &self.kind {
            declared::Kind::Object(fields) => {
                fields.get(name).map_or(Place::Lost, |field| Place::At(Rc::clone(field)))
            }
            _ => Place::Lost,
        }
    }

    fn element(&self) -> Place {
        match &self.kind {
            declared::Kind::List(element) | declared::Kind::Map(element) => Place::At(Rc::clone(element)),
            _ => Place::Lost,
        }
    }
}

impl Type {
    fn of(declared: &Rc<Declared>) -> Self {
        match &declared.kind {
            declared::Kind::Dyn => Self::Dyn,
            declared::Kind::String => Self::String,
            declared::Kind::Bytes => Self::Bytes,
            declared::Kind::List(items) => Self::List(Self::of(items).into()),
            declared::Kind::Map(values) => Self::Map(Self::String.into(), Self::of(values).into()),
            declared::Kind::Object(_) => Self::Object(Rc::clone(declared)),
            declared::Kind::Bool
            | declared::Kind::Int
            | declared::Kind::Double
            | declared::Kind::Duration
            | declared::Kind::Timestamp => Self::Scalar,
        }
    }

    fn field(&self, name: &str) -> Self {
        match self {
            Self::Object(declared) => match declared.field(name) {
                Place::At(field) => Self::of(&field),
                _ => Self::Dyn,
            },
            Self::Map(_, value) => (**value).clone(),
            Self::Optional(inner) => Self::Optional(inner.field(name).into()),
            _ => Self::Dyn,
        }
    }

    fn element(&self) -> Self {
        match self {
            Self::List(item) => (**item).clone(),
            Self::Map(_, value) => (**value).clone(),
            _ => Self::Dyn,
        }
    }

    /// The type of what is of one of two types.
    fn joined(left: &Self, right: &Self) -> Self {
        match (left, right) {
            (Self::List(item), Self::List(other)) => Self::List(Self::joined(item, other).into()),
            (Self::Map(key, value), Self::Map(..)) => Self::Map(Rc::clone(key), Rc::clone(value)),
            // Of an empty list nothing is known, nor of null.
            (Self::Dyn, other) | (other, Self::Dyn) => other.clone(),
            (Self::Scalar, Self::Scalar) => Self::Scalar,
            (Self::String, Self::String) => Self::String,
            (Self::Bytes, Self::Bytes) => Self::Bytes,
            (Self::Object(declared), Self::Object(_)) => Self::Object(Rc::clone(declared)),
            (Self::Optional(inner), Self::Optional(_)) => Self::Optional(Rc::clone(inner)),
            (Self::Opaque(name), Self::Opaque(other)) if name == other => Self::Opaque(name),
            _ => Self::Dyn,
        }
    }

    /// The size that all values of the type have.
    fn size(&self) -> Option<Size> {
        match self {
            Self::Scalar => Some(Size::fixed(1)),
            Self::Optional(inner) => inner.size(),
            _ => None,
        }
    }
}

impl Size {
    fn fixed(size: u64) -> Self {
        Self { min: size, max: size }
    }

    fn of_all(nodes: &[Node]) -> Self {
        let sizes = nodes.iter().map(Node::size_or_unknown);
        sizes.reduce(Self::union).unwrap_or(Self::fixed(0))
    }

    fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    /// What it costs to go over it, rounded up.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
    fn cost(self, factor: f64) -> u64 {
        // Casts from floating point saturate.
        (self.max as f64 * factor).ceil() as u64
    }

    /// The size of a text of this size in which `old` is replaced by `new`.
    fn replaced(self, old: Self, new: Self) -> Self {
        // An empty text is replaced before, between and after all characters.
        let max = if old.min == 0 {
            self.max.saturating_add(1).saturating_mul(new.max).saturating_add(self.max)
        } else if new.max <= old.min {
            self.max
        } else {
            self.max.div_ceil(old.min).saturating_mul(new.max)
        };
        let min = if old.max == 0 {
            self.min.saturating_add(1).saturating_mul(new.min).saturating_add(self.min)
        } else if old.max <= new.min {
            self.min
        } else {
            self.min.div_ceil(old.max).saturating_mul(new.min)
        };
        Self { min, max }
    }
}

impl Entry {
    fn union(left: Option<Self>, right: Option<Self>) -> Option<Self> {
        let (left, right) = (left?, right?);
        Some(Self {
            is_list: left.is_list,
            key: left.key.union(right.key),
            value: left.value.union(right.value),
        })
    }
}

fn sum(nodes: &[Node]) -> u64 {
    nodes.iter().map(|node| node.cost).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use kube_cel::cel::parser::Parser;
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;
    use crate::schema::parse::lenient;

    /// What `cel.Compile` of apiextensions-apiserver 0.37.2 found.
    #[derive(Deserialize)]
    struct Case {
        schema: Value,
        #[serde(default)]
        root: bool,
        /// How many such values fit into a request.
        times: u64,
        costs: Vec<(String, u64)>,
    }

    /// cel-go takes the size of a list for that of another field where paths share memory (it appends to slices).
    const CONFUSED: [&str; 1] = ["self.items.all(i, i.tags.all(t, t == i.name))"];

    #[test]
    fn costs_are_kube_apiservers() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/costs.json")).unwrap();
        let mut wrong = Vec::new();
        for case in cases {
            let schema = lenient(case.schema.as_object().unwrap());
            let declared = Declared::of(&schema, case.root).unwrap();
            assert_eq!(declared::REQUEST_MAX / (declared.min_bytes + 1), case.times, "{}", case.schema);
            for (rule, expected) in case.costs {
                let expression = Parser::new().enable_optional_syntax(true).parse(&rule).unwrap();
                let found = cost(&expression, &declared, false);
                if (found != expected) != CONFUSED.contains(&rule.as_str()) {
                    wrong.push(format!("{rule}: {expected}, not {found}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    }
}
