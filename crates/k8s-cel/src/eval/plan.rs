//! Makes a plan of a checked expression: cel-go's planner, with the optimizations that kube-apiserver switches on.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Dialect, Program,
    cost::CallCost,
    names::check_qualifier,
    node::{Attribute, Base, Call, Choice, Fold, Key, Member, Name, Node, Qualifier, Struct},
    operator::{Candidate, Operator},
};
use crate::{
    check::{Checked, Environment, Reference},
    functions,
    go::Pattern,
    policy,
    syntax::{Comprehension, Entry, Expr, Id, Kind, Literal},
    types::Type,
    value::{self, Error, Octets, Text, Value},
};

/// Plans an expression.
///
/// # Errors
/// Fails if a constant part of it has no value, such as `int('x')` or a pattern that is not one.
pub(crate) fn plan(checked: &Checked, environment: &Environment, dialect: Dialect) -> Result<Program, Error> {
    let mut planner = Planner {
        checked,
        environment,
        dialect,
        variables: Vec::new(),
        scopes: Vec::new(),
        depth: 0,
        slots: 0,
        pattern_memory: Pattern::MEMORY,
    };
    let root = planner.node(&checked.ast.root)?;
    Ok(Program { root, variables: planner.variables, slots: planner.slots, dialect })
}

struct Planner<'p> {
    checked: &'p Checked,
    environment: &'p Environment,
    dialect: Dialect,
    variables: Vec<Arc<str>>,
    /// The variables of comprehensions that are visible, the innermost last.
    scopes: Vec<(Arc<str>, usize)>,
    /// How many slots are in use, and were at most.
    depth: usize,
    slots: usize,
    /// What is left for patterns.
    pattern_memory: usize,
}

impl Planner<'_> {
    fn node(&mut self, expr: &Expr) -> Result<Node, Error> {
        Ok(match &expr.kind {
            Kind::Literal(literal) => Node::Constant(constant(literal)),
            Kind::Ident(name) => self.name(expr.id, name)?,
            Kind::Select { operand, field, test_only } => {
                if let Some(Reference::Name { name, .. }) = self.checked.references.get(&expr.id) {
                    let name = Arc::clone(name);
                    return self.name(expr.id, &name);
                }
                let mut attribute = attribute(self.node(operand)?);
                let key = Key::Constant(Value::String(Text::Shared(Arc::clone(field))));
                let of_object = match self.checked.types.get(&operand.id) {
                    Some(Type::Object(name)) => policy::is_made(name),
                    _ => false,
                };
                let qualifier = Arc::new(Qualifier { key, optional: false, test: *test_only, of_object });
                self.qualify(&mut attribute, &qualifier);
                if *test_only { Node::Test(attribute) } else { Node::Attribute(attribute) }
            }
            Kind::Call { function, target, args } => self.call(expr.id, function, target.as_deref(), args)?,
            Kind::List { elements, optional } => self.list(elements, optional)?,
            Kind::Map(entries) => self.map(entries)?,
            Kind::Struct { type_name, fields } => {
                let fields = fields
                    .iter()
                    .map(|field| Ok((Arc::clone(&field.key), self.node(&field.value)?, field.optional)));
                let fields = fields.collect::<Result<_, Error>>()?;
                let type_name = match self.checked.references.get(&expr.id) {
                    Some(Reference::Name { name, .. }) => Arc::clone(name),
                    _ => match self.environment.global_type(type_name) {
                        Some((name, _)) => name,
                        None => Arc::clone(type_name),
                    },
                };
                let of_policy = policy::is_made(&type_name) && self.environment.provider.has_type(&type_name);
                Node::Struct(Box::new(Struct { type_name, of_policy, fields }))
            }
            Kind::Comprehension(comprehension) => self.comprehension(comprehension)?,
        })
    }

    fn name(&mut self, id: Id, name: &Arc<str>) -> Result<Node, Error> {
        if let Some(Reference::Name { value: Some(value), .. }) = self.checked.references.get(&id) {
            return Ok(Node::Constant(constant(value)));
        }
        let slot = self.scopes.iter().rev().find(|(scoped, _)| scoped == name).map(|(_, slot)| *slot);
        if slot.is_none()
            && let Some(Type::Meta(Some(named))) = self.checked.types.get(&id)
        {
            // As in kube-apiserver, the types of schemas are known to the checker only.
            if let Type::Object(name) = &**named
                && self.environment.provider.has_type(name)
            {
                return Err(Error::new(format!("reference to undefined type: {name}")));
            }
            return Ok(Node::Constant(Value::type_value((**named).clone())));
        }
        let base = match slot {
            Some(slot) => Base::Slot(slot),
            None if !self.checked.is_checked() => {
                let mut candidates = Vec::new();
                let _ = self.environment.in_container(name, |name| {
                    candidates.push(name.to_owned());
                    None::<()>
                });
                Base::Names(candidates.iter().map(|name| self.candidate(name, 0)).collect())
            }
            None => Base::Variable(self.variable(name.strip_prefix('.').unwrap_or(name))),
        };
        Ok(Node::Attribute(Attribute { base, qualifiers: Vec::new() }))
    }

    fn candidate(&mut self, name: &str, steps: usize) -> Name {
        let named_type = self.environment.type_named(name).map(Value::type_value);
        Name { variable: self.variable(name), steps, named_type }
    }

    /// Adds a step to an attribute. Steps behind a choice are steps of both sides.
    fn qualify(&mut self, attribute: &mut Attribute, qualifier: &Arc<Qualifier>) {
        let steps = attribute.qualifiers.len();
        match (&mut attribute.base, &qualifier.key) {
            (Base::Choice(choice), _) => {
                self.qualify(&mut choice.yes, qualifier);
                self.qualify(&mut choice.no, qualifier);
                return;
            }
            // Without the checker, `a.b` may be the field of a variable or a variable with a dot in its name.
            (Base::Names(names), Key::Constant(Value::String(field))) => {
                let whole = names.iter().take_while(|name| name.steps == steps);
                let longer = whole.filter_map(|name| {
                    let name = format!("{}.{}", self.variables.get(name.variable)?, &**field);
                    Some(self.candidate(&name, steps + 1))
                });
                let longer: Vec<_> = longer.collect();
                names.splice(0..0, longer);
            }
            _ => {}
        }
        attribute.qualifiers.push(Arc::clone(qualifier));
    }

    fn select(&mut self, operand: Node, index: Node, optional: bool) -> Result<Node, Error> {
        let key = match index {
            Node::Constant(value) if self.early(check_qualifier(&value))?.is_some() => Key::Constant(value),
            node => Key::Computed(attribute(node)),
        };
        let mut attribute = attribute(operand);
        self.qualify(&mut attribute, &Arc::new(Qualifier { key, optional, test: false, of_object: false }));
        Ok(Node::Attribute(attribute))
    }

    /// The function that a call without a reference means: of `a.f(x)` that is the method `f` of `a`, or the function `a.f`.
    fn function<'e>(&self, function: &Arc<str>, target: Option<&'e Expr>) -> (Arc<str>, Option<&'e Expr>) {
        let known = |name: &str| self.environment.function(name).map(|function| Arc::clone(&function.name));
        match target {
            _ if self.checked.is_checked() => (Arc::clone(function), target),
            None => (known(function).unwrap_or_else(|| Arc::clone(function)), None),
            Some(expr) => {
                let qualified = qualified_name(expr).and_then(|name| known(&format!("{name}.{function}")));
                match qualified {
                    Some(name) => (name, None),
                    None => (Arc::clone(function), target),
                }
            }
        }
    }

    /// What is computed before the run; `None` for an error that belongs to the run.
    fn early<T>(&self, computed: Result<T, Error>) -> Result<Option<T>, Error> {
        match (computed, self.dialect) {
            (Err(_), Dialect::Specification) => Ok(None),
            (computed, _) => computed.map(Some),
        }
    }

    fn variable(&mut self, name: &str) -> usize {
        match self.variables.iter().position(|known| &**known == name) {
            Some(index) => index,
            None => {
                self.variables.push(name.into());
                self.variables.len() - 1
            }
        }
    }

    fn call(
        &mut self,
        id: Id,
        function: &Arc<str>,
        target: Option<&Expr>,
        args: &[Expr],
    ) -> Result<Node, Error> {
        let (function, target) = &self.function(function, target);
        let mut nodes = Vec::with_capacity(args.len() + 1);
        for arg in target.iter().copied().chain(args) {
            nodes.push(self.node(arg)?);
        }
        let overload = match self.checked.references.get(&id) {
            Some(Reference::Overloads(overloads)) if overloads.len() == 1 => overloads.first(),
            _ => None,
        };
        let overload = overload.map_or("", |overload| overload);
        nodes = match (&**function, pair(nodes)) {
            ("_||_", Pair::Two(left, right)) => return Ok(Node::Or(vec![left, right])),
            ("_&&_", Pair::Two(left, right)) => return Ok(Node::And(vec![left, right])),
            ("_||_", Pair::Other(terms)) => return Ok(Node::Or(terms)),
            ("_&&_", Pair::Other(terms)) => return Ok(Node::And(terms)),
            ("_==_", Pair::Two(left, right)) => return Ok(Node::Equal(Box::new((left, right)))),
            ("_!=_", Pair::Two(left, right)) => return Ok(Node::NotEqual(Box::new((left, right)))),
            ("_[_]", Pair::Two(operand, index)) => return self.select(operand, index, false),
            ("_?._" | "_[?_]", Pair::Two(operand, index)) => return self.select(operand, index, true),
            ("or", Pair::Two(left, right)) if matches!(overload, "" | "optional_or_optional") => {
                return Ok(Node::OptionalOr(Box::new((left, right))));
            }
            ("orValue", Pair::Two(left, right)) if matches!(overload, "" | "optional_orValue_value") => {
                return Ok(Node::OptionalOrValue(Box::new((left, right))));
            }
            (_, Pair::Two(left, right)) => vec![left, right],
            (_, Pair::Other(nodes)) => nodes,
        };
        if &**function == "_?_:_" {
            let mut nodes = nodes.into_iter();
            let (Some(condition), Some(yes), Some(no)) = (nodes.next(), nodes.next(), nodes.next()) else {
                return Err(Error::no_such_overload());
            };
            let choice = Choice { condition, yes: branch(yes), no: branch(no) };
            return Ok(Node::Attribute(Attribute {
                base: Base::Choice(Box::new(choice)),
                qualifiers: Vec::new(),
            }));
        }
        if overload == "in_list"
            && let [_, Node::Constant(Value::List(list))] = nodes.as_slice()
        {
            let values = list.values()?;
            if values.is_empty() {
                return Ok(Node::Constant(Value::Bool(false)));
            }
            if values.iter().all(is_primitive)
                && let Some(needle) = nodes.drain(..1).next()
            {
                return Ok(Node::Member(Box::new(Member { needle, set: values })));
            }
        }
        let operator = self.operator(function, overload, target.is_some(), &nodes)?;
        // Conversions of constants are constants.
        if is_conversion(function)
            && let [Node::Constant(value)] = nodes.as_slice()
            && let Some(converted) = self.early(operator.unary(function, value.clone()))?
        {
            return Ok(Node::Constant(converted));
        }
        let cost = CallCost::of(function, overload);
        Ok(Node::Call(Box::new(Call {
            function: Arc::clone(function),
            operator,
            args: nodes,
            cost,
            takes: None,
        })))
    }

    fn operator(
        &mut self,
        function: &str,
        overload: &str,
        member: bool,
        args: &[Node],
    ) -> Result<Operator, Error> {
        let pattern = match args.get(1) {
            Some(Node::Constant(Value::String(pattern)))
                if matches!(function, "matches" | "find" | "findAll") =>
            {
                let pattern = Pattern::compile(pattern, &mut self.pattern_memory);
                self.early(pattern.map_err(Error::new))?
            }
            _ => None,
        };
        match function {
            "matches" => return Ok(Operator::Matches(pattern)),
            "find" => return Ok(Operator::Find(pattern)),
            "findAll" => return Ok(Operator::FindAll(pattern)),
            _ => {}
        }
        if let Some(operator) = Operator::of(function) {
            return Ok(operator);
        }
        let overloads =
            self.environment.functions.get(function).map_or(&[][..], |function| &function.overloads);
        // Without the checker, functions can be called as methods, and the other way around.
        let bound = overloads.iter().filter(|known| {
            !self.checked.is_checked() || known.member == member && known.args.len() == args.len()
        });
        let bound = bound.filter_map(|known| {
            functions::implementation(&known.id).map(|run| Candidate { overload: known.clone(), run })
        });
        let mut candidates: Vec<_> = bound.collect();
        if matches!(function, "sort" | "@sortByAssociatedKeys")
            && let Some(candidate) = candidates.first()
        {
            return Ok(Operator::Any(candidate.run));
        }
        match candidates.iter().position(|candidate| &*candidate.overload.id == overload) {
            Some(index) => Ok(Operator::One(candidates.swap_remove(index))),
            None => Ok(Operator::Many(candidates)),
        }
    }

    fn list(&mut self, elements: &[Expr], optional: &[u32]) -> Result<Node, Error> {
        let mut nodes = Vec::with_capacity(elements.len());
        for (index, element) in (0..).zip(elements) {
            nodes.push((self.node(element)?, optional.contains(&index)));
        }
        let constants: Option<Vec<_>> =
            nodes.iter().map(|(node, optional)| (!optional).then(|| known(node)).flatten()).collect();
        Ok(match constants {
            Some(values) => Node::Constant(Value::list(values)),
            None => Node::List(nodes),
        })
    }

    fn map(&mut self, entries: &[Entry<Expr>]) -> Result<Node, Error> {
        let mut nodes = Vec::with_capacity(entries.len());
        for entry in entries {
            nodes.push((self.node(&entry.key)?, self.node(&entry.value)?, entry.optional));
        }
        let constants: Option<Vec<_>> = nodes
            .iter()
            .map(|(key, value, optional)| (!optional).then(|| Some((known(key)?, known(value)?))).flatten())
            .collect();
        let constant = constants.map(|entries| {
            let entries = entries.into_iter().map(|(key, value)| Ok((value::Key::of(key)?, value)));
            entries.collect::<Result<BTreeMap<_, _>, Error>>()
        });
        Ok(match constant.map(|constant| self.early(constant)).transpose()?.flatten() {
            Some(entries) => Node::Constant(Value::Map(entries.into())),
            None => Node::Map(nodes),
        })
    }

    fn comprehension(&mut self, comprehension: &Comprehension) -> Result<Node, Error> {
        let Comprehension {
            iter_range,
            iter_var,
            iter_var2,
            accu_var,
            accu_init,
            loop_condition,
            loop_step,
            result,
        } = comprehension;
        let base = self.depth;
        let (accu, iter) = (base, base + 1);
        let iter2 = iter_var2.as_ref().map(|_| base + 2);
        let visible = self.scopes.len();
        self.depth = base + 3;
        self.slots = self.slots.max(self.depth);
        let range = self.node(iter_range)?;
        self.scopes.push((Arc::clone(accu_var), accu));
        self.scopes.push((Arc::clone(iter_var), iter));
        if let (Some(name), Some(slot)) = (iter_var2, iter2) {
            self.scopes.push((Arc::clone(name), slot));
        }
        let condition = self.node(loop_condition)?;
        let mut step = self.node(loop_step)?;
        take_accumulator(&mut step, accu);
        self.scopes.truncate(visible + 1);
        let result = self.node(result)?;
        self.scopes.truncate(visible);
        // The initial value is computed when it is first asked for, perhaps inside of other comprehensions: it shares no slot.
        self.depth = self.slots;
        let init = self.node(accu_init)?;
        self.depth = base;
        Ok(Node::Fold(Box::new(Fold { range, iter, iter2, accu, init, condition, step, result })))
    }
}

/// The name that an expression may be, such as `a.b`.
fn qualified_name(expr: &Expr) -> Option<String> {
    let mut fields = Vec::new();
    let mut expr = expr;
    while let Kind::Select { operand, field, test_only: false } = &expr.kind {
        fields.push(&**field);
        expr = operand;
    }
    let Kind::Ident(name) = &expr.kind else { return None };
    fields.push(name);
    fields.reverse();
    Some(fields.join("."))
}

/// The attribute that a step is added to.
fn attribute(node: Node) -> Attribute {
    match node {
        Node::Attribute(attribute) => attribute,
        node => Attribute { base: Base::Node(Box::new(node)), qualifiers: Vec::new() },
    }
}

/// A side of a choice, which does not cost what an attribute does.
fn branch(node: Node) -> Attribute {
    match node {
        Node::Test(attribute) => attribute,
        node => attribute(node),
    }
}

/// The call that replaces the accumulator takes it, so that a list that grows is not copied at each turn.
fn take_accumulator(step: &mut Node, accu: usize) {
    match step {
        Node::Call(call) if matches!(&*call.function, "_+_" | "cel.@mapInsert") && call.args.len() > 1 => {
            if let Some(Node::Attribute(Attribute { base: Base::Slot(slot), qualifiers })) = call.args.first()
                && *slot == accu
                && qualifiers.is_empty()
            {
                call.takes = Some(accu);
            }
        }
        Node::Attribute(Attribute { base: Base::Choice(choice), .. }) => {
            for side in [&mut choice.yes, &mut choice.no] {
                if let Base::Node(node) = &mut side.base {
                    take_accumulator(node, accu);
                }
            }
        }
        _ => {}
    }
}

enum Pair {
    Two(Node, Node),
    Other(Vec<Node>),
}

fn pair(mut nodes: Vec<Node>) -> Pair {
    match (nodes.len(), nodes.pop()) {
        (2, Some(right)) => match nodes.pop() {
            Some(left) => Pair::Two(left, right),
            None => Pair::Other(vec![right]),
        },
        (_, last) => {
            nodes.extend(last);
            Pair::Other(nodes)
        }
    }
}

fn known(node: &Node) -> Option<Value<'static>> {
    match node {
        Node::Constant(value) => Some(value.clone()),
        _ => None,
    }
}

fn is_primitive(value: &Value<'_>) -> bool {
    matches!(value, Value::Bool(_) | Value::Double(_) | Value::Int(_) | Value::String(_) | Value::Uint(_))
}

fn is_conversion(function: &str) -> bool {
    matches!(
        function,
        "bool" | "bytes" | "double" | "duration" | "dyn" | "int" | "string" | "timestamp" | "type" | "uint"
    )
}

fn constant(literal: &Literal) -> Value<'static> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::String(text) => Value::String(Text::Shared(Arc::clone(text))),
        Literal::Bytes(bytes) => Value::Bytes(Octets::Shared(Arc::clone(bytes))),
    }
}
