//! Estimates the maximum cost of an expression, for any object that fits its schema: cel-go's `checker.Cost` with the
//! estimates of `k8s.io/apiserver/pkg/cel/library`.
//!
//! The unit is cel-go's: about one step. Costs saturate. Where cel-go asks its type checker, types are inferred here as far
//! as the estimate depends on them; unknown types are dynamic.

mod function;
mod node;

use std::{collections::HashMap, rc::Rc};

use kube_cel::cel::{
    IdedExpr,
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, SelectExpr},
};

use self::function::Function;
use self::node::{Entry, NEW_LIST, Node, Place, Size, Type};
use super::declared::Declared;
use super::functions::is_namespace;

const NEW_MAP: u64 = 30;
const NEW_STRUCT: u64 = 40;

/// Returns the cost of an expression whose `self` has the declaration `root`.
pub(super) fn cost(expression: &IdedExpr, root: &Rc<Declared>, optional_old_self: bool) -> u64 {
    let mut estimate = Estimate { root: Rc::clone(root), optional_old_self, locals: HashMap::new() };
    estimate.node(expression).cost
}

struct Estimate<'e> {
    root: Rc<Declared>,
    optional_old_self: bool,
    /// The variables of macros. Their own costs are ignored.
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
            // The declared size takes precedence over that of the expression.
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
        // The step determines the type of the elements.
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
        // `sets.contains(a, b)` has a qualified name instead of a target.
        let namespace = match call.target.as_deref().map(|target| &target.expr) {
            Some(Expr::Ident(name)) if is_namespace(name) && !self.is_variable(name) => Some(name),
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

fn sum(nodes: &[Node]) -> u64 {
    nodes.iter().map(|node| node.cost).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use kube_cel::cel::parser::Parser;
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;
    use crate::cel::declared;
    use crate::read::lenient;

    /// The estimates of `cel.Compile` in apiextensions-apiserver 0.37.2.
    #[derive(Deserialize)]
    struct Case {
        schema: Value,
        #[serde(default)]
        root: bool,
        /// How many such values fit into a request.
        times: u64,
        costs: Vec<(String, u64)>,
    }

    /// Rules for which cel-go confuses the sizes of two fields, because their paths share memory (it appends to slices).
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
