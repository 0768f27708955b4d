//! Evaluation: walks the plan, counts what it costs, and stops at the limit.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Dialect, Program, cost,
    cost::CallCost,
    lazy::{Composed, Lazy},
    names::{check_qualifier, go_type},
    node::{Attribute, Base, Call, Fold, Key, Node, Qualifier, Struct},
    operator::Operator,
};
use crate::value::{self, Allowance, Error, Evaluated, VISIT, Value, work};

/// The work of comparing a constant.
const MEMBER: usize = 16;

/// The value of a variable; `None` if it is not defined.
pub(crate) type Variable<'a> = Option<Evaluated<'a>>;

/// What an evaluation gave, and what it cost until then.
#[derive(Debug)]
pub(crate) struct Outcome<'a> {
    pub(crate) value: Evaluated<'a>,
    pub(crate) cost: u64,
}

impl Program {
    /// Evaluates the expression with values for its variables, in the order of [`Self::variables`], and perhaps with lazy fields
    /// of one of them. It ends with [`Error::Cancelled`] once it has cost more than `limit`.
    pub(crate) fn evaluate<'a, 'v>(
        &'a self,
        variables: &'v [Variable<'a>],
        lazy: Option<&'v mut dyn Lazy<'a>>,
        limit: u64,
    ) -> Outcome<'a> {
        let slots = std::iter::repeat_with(|| Slot::Empty).take(self.slots).collect();
        let mut run = Run { program: self, variables, lazy, slots, cost: 0, limit };
        let allowance = Allowance::for_cost(limit);
        let value = run.node(&self.root);
        // Whoever writes the value has no more work than the evaluation may have.
        let weighed = value.as_ref().map_or_else(|_| work(0), |value| weigh(value, true));
        let value = weighed.and(value);
        drop(allowance);
        // cel-go looks at the limit after each step, so also after the last one.
        Outcome { value, cost: run.cost }
    }
}

/// A variable of a comprehension.
enum Slot<'a> {
    Empty,
    /// The accumulator before anybody asked for it.
    Pending(&'a Node),
    Ready(Evaluated<'a>),
}

struct Run<'a, 'v> {
    program: &'a Program,
    variables: &'v [Variable<'a>],
    lazy: Option<&'v mut dyn Lazy<'a>>,
    slots: Vec<Slot<'a>>,
    cost: u64,
    limit: u64,
}

impl<'a> Run<'a, '_> {
    fn charge(&mut self, cost: u64) -> Result<(), Error> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Charges a step that has a result, be it an error. An evaluation that has ended costs nothing more.
    fn charged(&mut self, result: Evaluated<'a>, cost: u64) -> Evaluated<'a> {
        if !matches!(&result, Err(error) if error.is_final()) {
            self.charge(cost)?;
        }
        result
    }

    fn node(&mut self, node: &'a Node) -> Evaluated<'a> {
        match node {
            Node::Constant(value) => Ok(borrowed(value)),
            Node::Attribute(attribute) => {
                let value = self.resolve(attribute);
                if matches!(attribute.base, Base::Choice(_)) { value } else { self.charged(value, 1) }
            }
            Node::Test(attribute) => match self.resolve(attribute)? {
                Value::Optional(value) => Ok(Value::Bool(value.is_some())),
                value => Ok(value),
            },
            Node::Or(terms) => self.any(terms, true),
            Node::And(terms) => self.any(terms, false),
            Node::Equal(sides) => {
                let (left, right) = self.both(sides, CallCost::Equal)?;
                left.equal(&right).map(Value::Bool)
            }
            Node::NotEqual(sides) => {
                let (left, right) = self.both(sides, CallCost::Shorter)?;
                match left.equal(&right) {
                    Err(error) if error.is_final() => Err(error),
                    equal => Ok(Value::Bool(!matches!(equal, Ok(true)))),
                }
            }
            Node::Call(call) => self.call(call),
            Node::Member(member) => {
                let needle = self.node(&member.needle)?;
                if matches!(needle, Value::Bytes(_)) {
                    return Err(value::unhashable_bytes());
                }
                // The cost is the same for any number of constants.
                work(member.set.len().saturating_mul(MEMBER))?;
                let found = member.set.iter().any(|value| {
                    let are_alike = std::mem::discriminant(value) == std::mem::discriminant(&needle)
                        || is_number(value) && is_number(&needle);
                    are_alike && matches!(value.equal(&needle), Ok(true))
                });
                Ok(Value::Bool(found))
            }
            Node::OptionalOr(sides) => match self.node(&sides.0)? {
                Value::Optional(None) => self.node(&sides.1),
                value @ Value::Optional(Some(_)) => Ok(value),
                _ => Err(Error::no_such_overload()),
            },
            Node::OptionalOrValue(sides) => match self.node(&sides.0)? {
                Value::Optional(None) => self.node(&sides.1),
                Value::Optional(Some(value)) => Ok(Arc::unwrap_or_clone(value)),
                _ => Err(Error::no_such_overload()),
            },
            Node::List(elements) => {
                let list = self.list(elements);
                self.charged(list, cost::LIST)
            }
            Node::Map(entries) => {
                let map = self.map(entries);
                self.charged(map, cost::MAP)
            }
            Node::Struct(object) => {
                let object = self.object(object);
                self.charged(object, cost::STRUCT)
            }
            Node::Fold(fold) => self.fold(fold),
        }
    }

    /// `||` and `&&`: the first term that decides wins, whatever the others are; else the first error.
    fn any(&mut self, terms: &'a [Node], decisive: bool) -> Evaluated<'a> {
        let mut failed = None;
        for term in terms {
            match self.node(term) {
                Ok(Value::Bool(value)) if value == decisive => return Ok(Value::Bool(decisive)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => failed = failed.or(Some(Error::no_such_overload())),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    /// Both sides of an operator. The right one is evaluated even if the left one failed, as in cel-go.
    fn both(&mut self, sides: &'a (Node, Node), cost: CallCost) -> Result<(Value<'a>, Value<'a>), Error> {
        let left = self.strict(&sides.0)?;
        let right = self.strict(&sides.1)?;
        let args = [left, right];
        self.charge(cost.charge(&args, None))?;
        let [left, right] = args;
        Ok((left?, right?))
    }

    /// Evaluates an argument. Fails at once only if the evaluation ends.
    fn strict(&mut self, node: &'a Node) -> Result<Evaluated<'a>, Error> {
        match self.node(node) {
            Err(error) if error.is_final() => Err(error),
            value => Ok(value),
        }
    }

    fn call(&mut self, call: &'a Call) -> Evaluated<'a> {
        match call.args.as_slice() {
            [arg] => {
                let arg = self.strict(arg)?;
                self.charge_call(call, std::slice::from_ref(&arg))?;
                if matches!(call.operator, Operator::NotStrictlyFalse) {
                    return Ok(Value::Bool(!matches!(arg, Ok(Value::Bool(false)))));
                }
                match &call.operator {
                    Operator::One(_) | Operator::Many(_) | Operator::Any(_) => self.apply(call, vec![arg?]),
                    operator => operator.unary(&call.function, arg?),
                }
            }
            [left, right] if !call.operator.is_eager() => {
                let left = match call.takes {
                    Some(slot) => {
                        let taken = self.take(slot);
                        self.charge(1)?;
                        taken
                    }
                    None => self.strict(left)?,
                };
                let right = self.strict(right)?;
                let args = [left, right];
                self.charge_call(call, &args)?;
                let [left, right] = args;
                match &call.operator {
                    Operator::One(_)
                    | Operator::Many(_)
                    | Operator::Any(_)
                    | Operator::Find(_)
                    | Operator::FindAll(_) => self.apply(call, vec![left?, right?]),
                    operator => operator.binary(&call.function, left?, right?),
                }
            }
            args => {
                let mut values = Vec::with_capacity(args.len());
                for (index, arg) in args.iter().enumerate() {
                    let value = match call.takes {
                        Some(slot) if index == 0 => {
                            let taken = self.take(slot);
                            self.charge(1)?;
                            taken
                        }
                        _ => self.strict(arg)?,
                    };
                    // Later arguments are not evaluated, and a call without all of them costs nothing.
                    if value.is_err() && index + 1 < args.len() {
                        return value;
                    }
                    values.push(value);
                }
                self.charge_call(call, &values)?;
                let values = values.into_iter().collect::<Result<_, _>>()?;
                self.apply(call, values)
            }
        }
    }

    /// Charges a call, unless its cost depends on its result: on the value, or on whether there is one.
    fn charge_call(&mut self, call: &Call, args: &[Evaluated<'a>]) -> Result<(), Error> {
        match call.cost {
            // cel-go's tracker takes these arguments for lists and numbers, and panics where they failed.
            CallCost::Pairs(index) if !matches!(args.get(index), Some(Ok(Value::List(_)))) => {
                Err(Error::Internal(not_a_list(go_type_of(args.get(index)))))
            }
            CallCost::Flatten if !matches!(args.get(1), None | Some(Ok(Value::Int(_)))) => {
                let found = go_type_of(args.get(1));
                Err(Error::Internal(format!("interface conversion: ref.Val is {found}, not types.Int")))
            }
            CallCost::Join | CallCost::Output | CallCost::Format => {
                if args.iter().any(Result::is_err) {
                    return self.charge(call.cost.charge(args, None));
                }
                Ok(())
            }
            cost => self.charge(cost.charge(args, None)),
        }
    }

    fn apply(&mut self, call: &'a Call, mut args: Vec<Value<'a>>) -> Evaluated<'a> {
        let pattern = match (call.cost, args.first()) {
            (CallCost::Format, Some(pattern)) => Some(Ok(pattern.clone())),
            _ => None,
        };
        let result = call.operator.apply(&call.function, &mut args);
        if let Some(pattern) = pattern {
            return self.charged(result, call.cost.charge(&[pattern], None));
        }
        if matches!(call.cost, CallCost::Join | CallCost::Output) {
            self.charge(call.cost.charge(&[], Some(&result)))?;
        }
        result
    }

    fn list(&mut self, elements: &'a [(Node, bool)]) -> Evaluated<'a> {
        let mut values = Vec::with_capacity(elements.len());
        for (element, optional) in elements {
            match self.node(element)? {
                Value::Optional(value) if *optional => values.extend(value.map(Arc::unwrap_or_clone)),
                value if *optional => {
                    let text =
                        format!("cannot initialize optional list element from non-optional value {value}");
                    return Err(Error::new(text));
                }
                value => values.push(value),
            }
        }
        Ok(Value::list(values))
    }

    fn map(&mut self, entries: &'a [(Node, Node, bool)]) -> Evaluated<'a> {
        let mut values = BTreeMap::new();
        for (key, value, optional) in entries {
            let key = self.node(key)?;
            let value = self.node(value)?;
            match value {
                Value::Optional(value) if *optional => match value {
                    Some(value) => {
                        values.insert(value::Key::of(key)?, Arc::unwrap_or_clone(value));
                    }
                    None => {
                        values.remove(&value::Key::of(key)?);
                    }
                },
                value if *optional => {
                    let text =
                        format!("cannot initialize optional entry '{key}' from non-optional value {value}");
                    return Err(Error::new(text));
                }
                value => {
                    values.insert(value::Key::of(key)?, value);
                }
            }
        }
        Ok(Value::Map(values.into()))
    }

    fn object(&mut self, object: &'a Struct) -> Evaluated<'a> {
        let mut fields = Vec::with_capacity(object.fields.len());
        for (name, value, optional) in &object.fields {
            match self.node(value)? {
                Value::Optional(value) if *optional => {
                    fields.extend(value.map(|value| (Arc::clone(name), Arc::unwrap_or_clone(value))));
                }
                value if *optional => {
                    let text =
                        format!("cannot initialize optional entry '{name}' from non-optional value {value}");
                    return Err(Error::new(text));
                }
                value => fields.push((Arc::clone(name), value)),
            }
        }
        if object.of_policy {
            return value::Object::make(&object.type_name, fields);
        }
        crate::functions::construct(&object.type_name, &fields)
    }

    fn fold(&mut self, fold: &'a Fold) -> Evaluated<'a> {
        let range = self.node(&fold.range)?;
        self.slots[fold.accu] = Slot::Pending(&fold.init);
        match (range, fold.iter2) {
            (Value::List(list), None) => {
                for item in list.iter() {
                    self.slots[fold.iter] = Slot::Ready(item);
                    if !self.step(fold)? {
                        break;
                    }
                }
            }
            (Value::Map(map), None) => {
                for key in map.keys() {
                    self.slots[fold.iter] = Slot::Ready(Ok(key));
                    if !self.step(fold)? {
                        break;
                    }
                }
            }
            (Value::List(list), Some(iter2)) => {
                for (index, item) in (0..).zip(list.iter()) {
                    self.slots[fold.iter] = Slot::Ready(Ok(Value::Int(index)));
                    self.slots[iter2] = Slot::Ready(item);
                    if !self.step(fold)? {
                        break;
                    }
                }
            }
            (Value::Map(map), Some(iter2)) => {
                for (key, value) in map.entries() {
                    self.slots[fold.iter] = Slot::Ready(Ok(key));
                    self.slots[iter2] = Slot::Ready(value);
                    if !self.step(fold)? {
                        break;
                    }
                }
            }
            (other, None) => {
                return Err(Error::new(format!("got '{}', expected iterable type", go_type(&other))));
            }
            (other, Some(_)) => {
                return Err(Error::new(format!("unsupported comprehension range type: {}", go_type(&other))));
            }
        }
        self.node(&fold.result)
    }

    /// One turn of a loop; false at its end.
    fn step(&mut self, fold: &'a Fold) -> Result<bool, Error> {
        if let Ok(Value::Bool(false)) = self.strict(&fold.condition)? {
            return Ok(false);
        }
        let accumulated = self.strict(&fold.step)?;
        self.slots[fold.accu] = Slot::Ready(accumulated);
        Ok(true)
    }

    /// The value of a variable of a comprehension.
    fn slot(&mut self, slot: usize) -> Evaluated<'a> {
        match &self.slots[slot] {
            Slot::Ready(value) => value.clone(),
            Slot::Pending(init) => {
                let init = *init;
                let value = self.node(init);
                self.slots[slot] = Slot::Ready(value.clone());
                value
            }
            Slot::Empty => Err(Error::new("no such attribute(s)")),
        }
    }

    /// The same, moved out.
    fn take(&mut self, slot: usize) -> Evaluated<'a> {
        match std::mem::replace(&mut self.slots[slot], Slot::Empty) {
            Slot::Ready(value) => value,
            Slot::Pending(init) => self.node(init),
            Slot::Empty => Err(Error::new("no such attribute(s)")),
        }
    }

    /// The value of an attribute, without the cost of the attribute itself.
    fn resolve(&mut self, attribute: &'a Attribute) -> Evaluated<'a> {
        let mut qualifiers = attribute.qualifiers.as_slice();
        let base = match &attribute.base {
            Base::Slot(slot) => self.slot(*slot)?,
            Base::Variable(index) => match self.variables.get(*index) {
                Some(Some(value)) => value.clone()?,
                _ => return Err(self.no_attribute(std::iter::once(*index))),
            },
            Base::Names(names) => {
                let steps = qualifiers.len();
                let mut found = None;
                for name in names {
                    if let Some(Some(value)) = self.variables.get(name.variable) {
                        qualifiers = qualifiers.get(name.steps..).unwrap_or_default();
                        found = Some(value.clone()?);
                        break;
                    }
                    if let Some(named) = name.named_type.as_ref().filter(|_| name.steps == steps) {
                        return Ok(borrowed(named));
                    }
                }
                let longest =
                    names.iter().take_while(|name| Some(name.steps) == names.first().map(|name| name.steps));
                found.ok_or_else(|| self.no_attribute(longest.map(|name| name.variable)))?
            }
            Base::Node(node) => self.node(node)?,
            Base::Choice(choice) => {
                return match self.node(&choice.condition)? {
                    Value::Bool(true) => self.resolve(&choice.yes),
                    Value::Bool(false) => self.resolve(&choice.no),
                    _ => Err(Error::no_such_overload()),
                };
            }
        };
        if qualifiers.is_empty() {
            return Ok(base);
        }
        let (mut value, mut optional) = match base {
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(value)) => (Arc::unwrap_or_clone(value), true),
            value => (value, false),
        };
        for qualifier in qualifiers {
            optional |= qualifier.optional;
            let present = optional || qualifier.test;
            let found = self.qualify(qualifier, &value, present);
            match found {
                Ok(None) if optional => return Ok(Value::Optional(None)),
                // What is absent, or cannot be asked for, costs nothing where it is optional.
                Err(error) if error.is_final() || optional => return Err(error),
                found => {
                    self.charge(1)?;
                    value = match (found?, qualifier.test && !optional) {
                        (found, true) => Value::Bool(found.is_some()),
                        (Some(found), false) => found,
                        // Without a test of presence, absence is an error.
                        (None, false) => return Err(Error::no_such_overload()),
                    };
                }
            }
        }
        Ok(if optional { Value::some(value) } else { value })
    }

    fn no_attribute(&self, variables: impl Iterator<Item = usize>) -> Error {
        let names: Vec<_> =
            variables.filter_map(|index| self.program.variables.get(index)).map(|name| &**name).collect();
        Error::new(format!("no such attribute(s): {}", names.join(", ")))
    }

    /// One step into a value. `present`: whether absence is `None` instead of an error.
    fn qualify(
        &mut self,
        qualifier: &'a Qualifier,
        value: &Value<'a>,
        present: bool,
    ) -> Result<Option<Value<'a>>, Error> {
        let computed;
        let key = match &qualifier.key {
            Key::Constant(key) => key,
            Key::Computed(attribute) => {
                computed = self.resolve(attribute)?;
                check_qualifier(&computed)?;
                &computed
            }
        };
        match value {
            Value::Map(map) => match map.find(key)? {
                Some(found) => found.map(Some),
                None if present => Ok(None),
                None => Err(Error::no_such_key(key)),
            },
            Value::List(list) => {
                let index = index(key)?;
                match usize::try_from(index).ok().and_then(|index| list.get(index)) {
                    Some(_) if list.is_typed() && !matches!(key, Value::Int(_)) => {
                        Err(Error::new(format!("unsupported index: {key}")))
                    }
                    Some(found) => found.map(Some),
                    None if present => Ok(None),
                    None => Err(Error::index_out_of_bounds(key)),
                }
            }
            Value::Object(object) if qualifier.of_object || object.is_patch() => object.find(key, present),
            Value::Opaque(_) if value.downcast::<Composed>().is_some() => {
                let name = key.as_str().ok_or_else(Error::no_such_overload)?;
                match self.lazy.as_mut().and_then(|lazy| lazy.get(name)) {
                    Some(found) => found.map(Some),
                    None if present => Ok(None),
                    None => Err(Error::no_such_key(key)),
                }
            }
            _ if present && self.program.dialect == Dialect::Kubernetes => Ok(None),
            _ => Err(Error::no_such_key(key)),
        }
    }
}

/// The work of reading a whole value. What the caller passed in as one value is as large as the caller wanted it.
fn weigh(value: &Value<'_>, is_whole: bool) -> Result<(), Error> {
    match value {
        Value::List(value::List::Json(..)) | Value::Map(value::Map::Json(..)) if is_whole => Ok(()),
        Value::List(list) => list.iter().flatten().try_for_each(|element| {
            work(VISIT)?;
            weigh(&element, false)
        }),
        Value::Map(map) => map.entries().try_for_each(|(key, value)| {
            work(VISIT)?;
            weigh(&key, false)?;
            value.map_or(Ok(()), |value| weigh(&value, false))
        }),
        Value::Object(object) => object.fields.values().try_for_each(|value| {
            work(VISIT)?;
            weigh(value, false)
        }),
        Value::Optional(Some(value)) => weigh(value, is_whole),
        Value::String(text) => work(text.len() / 8),
        Value::Bytes(bytes) => work(bytes.len()),
        _ => work(0),
    }
}

/// What Go prints for the type of an argument with `%T`.
fn go_type_of(arg: Option<&Evaluated<'_>>) -> &'static str {
    match arg {
        Some(Ok(value)) => go_type(value),
        _ => "*types.Err",
    }
}

/// Go's text for a value that is not a list: it names the first method that is missing.
fn not_a_list(found: &str) -> String {
    let has_add = matches!(
        found,
        "types.Int"
            | "types.Uint"
            | "types.Double"
            | "types.String"
            | "types.Bytes"
            | "types.Duration"
            | "types.Timestamp"
    );
    let missing = if has_add { "Contains" } else { "Add" };
    format!("interface conversion: {found} is not traits.Lister: missing method {missing}")
}

/// The index that a number is.
fn index(key: &Value<'_>) -> Result<i64, Error> {
    let found = match key {
        Value::Int(index) => Some(*index),
        Value::Uint(index) => i64::try_from(*index).ok(),
        Value::Double(index) => value::lossless_int(*index),
        other => {
            return Err(Error::new(format!(
                "unsupported index type '{}' in list",
                other.type_of().runtime()
            )));
        }
    };
    found.ok_or_else(|| Error::new(format!("unsupported index value {key} in list")))
}

fn is_number(value: &Value<'_>) -> bool {
    matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_))
}

/// A constant, without counting who holds it.
fn borrowed<'a>(value: &'a Value<'static>) -> Value<'a> {
    match value {
        Value::String(text) => Value::String(value::Text::Borrowed(text)),
        other => other.clone(),
    }
}
