//! Evaluates templates: `jsonpath.go` of `k8s.io/client-go/util/jsonpath` with missing keys allowed, on unstructured JSON.
//!
//! Its rules are kept where they surprise, since printer columns and scripts depend on them: an action that fails with
//! values at hand passes a filter without a comparison, and a `range` without `end` runs to the end of the template.

use std::{cmp::Ordering, sync::LazyLock};

use kube_validation::go;
use serde_json::Value;

use super::parse::{Action, End, Step, Template};

/// The reason why a template cannot be evaluated for a value: an index is out of bounds, a filter is applied to something
/// other than an array or compares values of different types, or there are too many results. The messages are kubectl's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EvaluateError(String);

/// A result. `None` is the current object within a `range` where that is null or the range has no items.
pub(super) type Found<'a> = Option<&'a Value>;

/// The number of steps and values that an evaluation may visit. A list of 150,000 objects, the most that Kubernetes supports
/// in a cluster, may have 200 for each.
const MAX_VISITED: usize = 1 << 25;

/// The maximum number of nested ranges, so that they cannot exhaust the stack.
const MAX_RANGES: usize = 64;

/// Why a step failed.
enum Failure {
    /// The template does not fit the value. `found` is whether client-go returns values along with its error: if so, they
    /// pass a filter.
    Misfit { message: String, found: bool },
    /// A limit is exceeded.
    Limit(&'static str),
}

type Results<'a> = Result<Vec<Found<'a>>, Failure>;

fn misfit<T>(message: impl Into<String>, found: bool) -> Result<T, Failure> {
    Err(Failure::Misfit { message: message.into(), found })
}

/// Returns the results of each action, in order.
pub(super) fn evaluate<'a>(
    template: &'a Template,
    value: &'a Value,
) -> Result<Vec<Vec<Found<'a>>>, EvaluateError> {
    let evaluation = Evaluation { template, begun: 0, ranges: 0, ended: 0, last_end: 0, visited: 0 };
    evaluation.run(value).map_err(|failure| match failure {
        Failure::Misfit { message, .. } => EvaluateError(message),
        Failure::Limit(message) => EvaluateError(message.to_owned()),
    })
}

struct Evaluation<'a> {
    template: &'a Template,
    /// The number of `range`s that were evaluated and have no loop yet.
    begun: usize,
    /// The number of loops.
    ranges: usize,
    /// The number of `end`s that were evaluated and have ended no loop yet.
    ended: usize,
    /// The index of the action with the last `end`.
    last_end: usize,
    visited: usize,
}

impl<'a> Evaluation<'a> {
    fn run(mut self, value: &'a Value) -> Result<Vec<Vec<Found<'a>>>, Failure> {
        let mut results = Vec::new();
        self.actions(0, Some(value), &mut results)?;
        Ok(results)
    }

    /// Evaluates the actions from an index on, up to the end of the current loop or of the template.
    fn actions(
        &mut self,
        from: usize,
        value: Found<'a>,
        all: &mut Vec<Vec<Found<'a>>>,
    ) -> Result<(), Failure> {
        let template = self.template;
        let mut index = from;
        while let Some(action) = template.get(index) {
            self.visit(1)?;
            let results = self.action(vec![value], action)?;
            if self.ended > 0 && self.ended <= self.ranges {
                self.ended -= 1;
                self.last_end = index;
                break;
            }
            if self.begun > 0 {
                self.begun -= 1;
                self.range(index + 1, results, all)?;
                index = index.max(self.last_end);
            } else {
                all.push(results);
            }
            index += 1;
        }
        Ok(())
    }

    fn range(
        &mut self,
        from: usize,
        items: Vec<Found<'a>>,
        all: &mut Vec<Vec<Found<'a>>>,
    ) -> Result<(), Failure> {
        if self.ranges >= MAX_RANGES {
            return Err(Failure::Limit("ranges are nested too deep"));
        }
        self.ranges += 1;
        if items.is_empty() {
            // Evaluated for its end and its errors.
            self.actions(from, None, &mut Vec::new())?;
        }
        for item in items {
            self.actions(from, item.filter(|item| !item.is_null()), all)?;
        }
        self.ranges -= 1;
        Ok(())
    }

    fn visit(&mut self, count: usize) -> Result<(), Failure> {
        self.visited += count;
        if self.visited > MAX_VISITED { Err(Failure::Limit("too many results")) } else { Ok(()) }
    }

    fn action(&mut self, mut values: Vec<Found<'a>>, action: &'a Action) -> Results<'a> {
        for step in action {
            self.visit(1 + values.len())?;
            values = self.step(values, step)?;
        }
        Ok(values)
    }

    fn step(&mut self, values: Vec<Found<'a>>, step: &'a Step) -> Results<'a> {
        Ok(match step {
            Step::Text(text) => vec![Some(text)],
            Step::Literal(literal) => values.iter().map(|_| Some(literal)).collect(),
            Step::Word(word) => return self.word(values, word),
            Step::Field(name) => values.into_iter().filter_map(|value| value?.get(name)).map(Some).collect(),
            Step::Wildcard => {
                let mut results = Vec::new();
                for child in values.into_iter().flatten().flat_map(children) {
                    self.visit(1)?;
                    results.push(Some(child));
                }
                results
            }
            Step::Recursive => {
                let mut results = Vec::new();
                for value in values.into_iter().flatten() {
                    self.descend(value, &mut results)?;
                }
                results
            }
            Step::Slice { start, end, step } => return self.slice(values, *start, *end, *step),
            Step::Union(actions) => {
                let mut results = Vec::new();
                for action in actions {
                    results.extend(self.action(values.clone(), action)?);
                }
                results
            }
            Step::Filter { left, comparison } => {
                let mut results = Vec::new();
                for value in values {
                    let Some(items) = value.and_then(Value::as_array) else {
                        let text = value.map_or_else(|| "<invalid reflect.Value>".to_owned(), go::value);
                        return misfit(format!("{text} is not array or slice and cannot be filtered"), true);
                    };
                    for item in items {
                        if self.passes(item, left, comparison.as_ref(), !results.is_empty())? {
                            results.push(Some(item));
                        }
                    }
                }
                results
            }
        })
    }

    fn word(&mut self, values: Vec<Found<'a>>, word: &str) -> Results<'a> {
        match word {
            "range" => {
                self.begun += 1;
                Ok(values)
            }
            "end" if self.ranges > 0 => {
                self.ended += 1;
                Ok(Vec::new())
            }
            "end" => misfit("not in range, nothing to end", false),
            _ => misfit(format!("unrecognized identifier {word}"), !values.is_empty()),
        }
    }

    fn slice(
        &mut self,
        values: Vec<Found<'a>>,
        start: Option<i64>,
        end: End,
        step: Option<i64>,
    ) -> Results<'a> {
        let mut results = Vec::new();
        for value in values.into_iter().flatten().filter(|value| !value.is_null()) {
            let Some(items) = value.as_array() else {
                return misfit(format!("{} is not array or slice", go::unstructured_type(value)), true);
            };
            let (first, last) = bounds(items.len(), start, end)?;
            if first == last {
                // client-go forgets about the other values.
                return Ok(results);
            }
            let step = match step.map(usize::try_from) {
                None => 1,
                Some(Ok(step)) if step > 0 => step,
                Some(_) => return misfit("step must be > 0", true),
            };
            self.visit((last - first) / step)?;
            results.extend(items.get(first..last).unwrap_or_default().iter().step_by(step).map(Some));
        }
        Ok(results)
    }

    /// Collects a value that has children, and those below it.
    fn descend(&mut self, value: &'a Value, results: &mut Vec<Found<'a>>) -> Result<(), Failure> {
        let is_empty = match value {
            Value::Array(items) => items.is_empty(),
            Value::Object(object) => object.is_empty(),
            Value::String(text) => text.is_empty(),
            _ => true,
        };
        if is_empty {
            return Ok(());
        }
        self.visit(1)?;
        results.push(Some(value));
        // The bytes of a string have no children.
        children(value).filter(|_| !value.is_string()).try_for_each(|child| self.descend(child, results))
    }

    /// Returns whether an item passes a filter. `found` is whether another item did.
    fn passes(
        &mut self,
        item: &'a Value,
        left: &'a Action,
        comparison: Option<&'a (String, Action)>,
        found: bool,
    ) -> Result<bool, Failure> {
        let left = self.action(vec![Some(item)], left);
        let Some((operator, right)) = comparison else {
            return match left {
                Ok(values) => Ok(!values.is_empty()),
                Err(Failure::Misfit { found, .. }) => Ok(found),
                Err(limit) => Err(limit),
            };
        };
        let Some(left) = single(left)? else { return Ok(false) };
        let Some(right) = single(self.action(vec![Some(item)], right))? else { return Ok(false) };
        compare(operator, left, right).or_else(|message| misfit(message, found))
    }
}

/// Returns the items of an array, the values of an object, and the bytes of a string.
fn children(value: &Value) -> impl Iterator<Item = &Value> {
    static BYTES: LazyLock<Vec<Value>> = LazyLock::new(|| (0..=u8::MAX).map(Value::from).collect());
    let items = value.as_array().into_iter().flatten();
    let values = value.as_object().into_iter().flat_map(|object| object.values());
    let bytes =
        value.as_str().into_iter().flat_map(str::bytes).filter_map(|byte| BYTES.get(usize::from(byte)));
    items.chain(values).chain(bytes)
}

/// Returns the first index of a slice and the one after its last.
fn bounds(length: usize, start: Option<i64>, end: End) -> Result<(usize, usize), Failure> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let from_end = |index: i64| if index < 0 { index + length } else { index };
    let first = from_end(start.unwrap_or(0));
    let last = match end {
        // Wraps for the greatest index, which is out of bounds anyway.
        End::One => first.wrapping_add(1),
        End::Length => length,
        End::At(end) => from_end(end),
    };
    if first != last {
        let out_of_bounds =
            |index| misfit(format!("array index out of bounds: index {index}, length {length}"), true);
        if first < 0 || first >= length {
            return out_of_bounds(first);
        }
        if last < 0 || last > length {
            return out_of_bounds(last - 1);
        }
        if first > last {
            return misfit(format!("starting index {first} is greater than ending index {last}"), true);
        }
    }
    let index = |index| usize::try_from(index).unwrap_or_default();
    Ok((index(first), index(last)))
}

/// Returns the only result of an operand; `None` if there is none.
fn single(operand: Results<'_>) -> Result<Option<Found<'_>>, Failure> {
    match operand {
        Ok(values) => match values.as_slice() {
            [] => Ok(None),
            [value] => Ok(Some(*value)),
            _ => misfit("can only compare one element at a time", true),
        },
        Err(Failure::Misfit { message, .. }) => misfit(message, true),
        Err(limit) => Err(limit),
    }
}

/// Compares two values as Go's text/template does: those of one type only, and a float never with an integer.
fn compare(operator: &str, left: Found<'_>, right: Found<'_>) -> Result<bool, String> {
    let passes: fn(Ordering) -> bool = match operator {
        "<" => Ordering::is_lt,
        "<=" => Ordering::is_le,
        "==" => Ordering::is_eq,
        "!=" => Ordering::is_ne,
        ">=" => Ordering::is_ge,
        ">" => Ordering::is_gt,
        _ => return Err(format!("unrecognized filter operator {operator}")),
    };
    let is_basic = |value: &Value| !matches!(value, Value::Null | Value::Array(_) | Value::Object(_));
    let (Some(left), Some(right)) = (left.filter(|it| is_basic(it)), right.filter(|it| is_basic(it))) else {
        return Err("invalid type for comparison".to_owned());
    };
    let ordering = match (left, right) {
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) if matches!(operator, "==" | "!=") => left.cmp(right),
        (Value::Bool(_), Value::Bool(_)) => return Err("invalid type for comparison".to_owned()),
        (Value::Number(left), Value::Number(right)) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => left.cmp(&right),
            (None, None) => left.as_f64().partial_cmp(&right.as_f64()).unwrap_or(Ordering::Equal),
            _ => return Err("incompatible types for comparison".to_owned()),
        },
        _ => return Err("incompatible types for comparison".to_owned()),
    };
    Ok(passes(ordering))
}
