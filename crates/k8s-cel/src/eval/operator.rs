//! Operators and the functions of the standard library that each value implements by itself.

use std::borrow::Cow;

use crate::{
    functions::{self, Implementation},
    go::Pattern,
    types::{Overload, Type},
    value::{Error, Evaluated, Target, Value, work},
};

/// What a call of a library's function can be.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) overload: Overload,
    pub(super) run: Implementation,
}

/// Patterns are compiled with the plan if they are constants.
#[derive(Debug)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Negate,
    Not,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Size,
    Type,
    Dyn,
    NotStrictlyFalse,
    Matches(Option<Pattern>),
    Find(Option<Pattern>),
    FindAll(Option<Pattern>),
    Contains,
    StartsWith,
    EndsWith,
    Convert(Target),
    /// The only overload that the checker left.
    One(Candidate),
    /// A function of lists with one piece of code for all its overloads.
    Any(Implementation),
    /// All overloads with the number of arguments; the arguments decide.
    Many(Vec<Candidate>),
}

/// The work of compiling a byte of a pattern, before or after.
const PATTERN_BYTE: usize = 20;

impl Operator {
    /// The operator that a function is, if values implement it by themselves.
    pub(super) fn of(function: &str) -> Option<Self> {
        Some(match function {
            "_+_" => Self::Add,
            "_-_" => Self::Subtract,
            "_*_" => Self::Multiply,
            "_/_" => Self::Divide,
            "_%_" => Self::Modulo,
            "-_" => Self::Negate,
            "!_" => Self::Not,
            "_<_" => Self::Less,
            "_<=_" => Self::LessEqual,
            "_>_" => Self::Greater,
            "_>=_" => Self::GreaterEqual,
            "@in" => Self::In,
            "size" => Self::Size,
            "type" => Self::Type,
            "dyn" => Self::Dyn,
            "@not_strictly_false" => Self::NotStrictlyFalse,
            "matches" => Self::Matches(None),
            "contains" => Self::Contains,
            "startsWith" => Self::StartsWith,
            "endsWith" => Self::EndsWith,
            "bool" => Self::Convert(Target::Bool),
            "int" => Self::Convert(Target::Int),
            "uint" => Self::Convert(Target::Uint),
            "double" => Self::Convert(Target::Double),
            "string" => Self::Convert(Target::String),
            "bytes" => Self::Convert(Target::Bytes),
            "duration" => Self::Convert(Target::Duration),
            "timestamp" => Self::Convert(Target::Timestamp),
            _ => return None,
        })
    }

    pub(super) fn apply<'a>(&self, function: &str, args: &mut Vec<Value<'a>>) -> Evaluated<'a> {
        match (self, args.as_mut_slice()) {
            (Self::One(candidate), args) => {
                if candidate.takes(args) {
                    (candidate.run)(args)
                } else {
                    Err(no_overload(function, args))
                }
            }
            (Self::Any(run), args @ [Value::List(_), ..]) => run(args),
            (Self::Any(_), [first, ..]) => Err(not_implemented(function, first)),
            (Self::Many(candidates), args) => match candidates.iter().find(|candidate| candidate.takes(args))
            {
                Some(candidate) => (candidate.run)(args),
                None if candidates.is_empty() => Err(Error::new(format!("no such overload: {function}"))),
                None => Err(no_overload(function, args)),
            },
            (Self::Find(pattern), [text, source]) => {
                if pattern.is_none() && (text.as_str().is_none() || source.as_str().is_none()) {
                    return Err(no_overload(function, &[text.clone(), source.clone()]));
                }
                let (text, pattern) = matcher(text, source, pattern.as_ref())?;
                functions::find(text, &pattern)
            }
            (Self::FindAll(pattern), args @ [_, _, ..]) => {
                let (text, source, rest) = (&args[0], &args[1], &args[2..]);
                let limit = match rest {
                    [] => Some(-1),
                    [Value::Int(limit)] => Some(*limit),
                    _ => None,
                };
                if pattern.is_none()
                    && (text.as_str().is_none() || source.as_str().is_none() || limit.is_none())
                {
                    return Err(no_overload(function, args));
                }
                let limit = limit.ok_or_else(Error::no_such_overload)?;
                let (text, pattern) = matcher(text, source, pattern.as_ref())?;
                functions::find_all(text, &pattern, limit)
            }
            (_, [arg]) => self.unary(function, std::mem::replace(arg, Value::Null)),
            (_, [left, right]) => {
                let left = std::mem::replace(left, Value::Null);
                let right = std::mem::replace(right, Value::Null);
                self.binary(function, left, right)
            }
            _ => Err(Error::no_such_overload()),
        }
    }

    /// Whether a failed argument ends the call before the next one is evaluated, and before it costs anything. cel-go does so
    /// for calls that look for their overload, and where it has compiled a pattern, beside calls of more than two arguments.
    pub(super) fn is_eager(&self) -> bool {
        match self {
            Self::Many(_) | Self::Matches(Some(_)) | Self::Find(Some(_)) | Self::FindAll(Some(_)) => true,
            Self::One(candidate) => &*candidate.overload.id == "string_format",
            _ => false,
        }
    }

    pub(super) fn unary<'a>(&self, function: &str, arg: Value<'a>) -> Evaluated<'a> {
        match self {
            Self::Negate => arg.negate(function),
            Self::Not => match arg {
                Value::Bool(value) => Ok(Value::Bool(!value)),
                _ => Err(Error::no_such_overload()),
            },
            Self::Size => {
                if let Value::String(text) = &arg {
                    work(text.len() / 8)?;
                }
                match arg.size() {
                    Some(size) => Ok(Value::Int(i64::try_from(size).unwrap_or(i64::MAX))),
                    None => Err(not_implemented(function, &arg)),
                }
            }
            // As in kube-apiserver, which has a mistake there.
            Self::Type if matches!(arg, Value::Object(_)) => {
                Ok(Value::type_value(Type::type_of(arg.type_of())))
            }
            Self::Type => Ok(Value::type_value(arg.type_of())),
            Self::Dyn | Self::NotStrictlyFalse => Ok(arg),
            Self::Convert(target) => {
                if let (Target::String, Value::Opaque(value)) = (target, &arg)
                    && let Some(text) = value.text()
                {
                    return Ok(Value::string(text));
                }
                if converts(&arg, *target) {
                    arg.convert(*target)
                } else {
                    Err(no_overload(function, &[arg]))
                }
            }
            _ => Err(Error::no_such_overload()),
        }
    }

    pub(super) fn binary<'a>(&self, function: &str, left: Value<'a>, right: Value<'a>) -> Evaluated<'a> {
        match self {
            Self::Add => left.add(right, function),
            Self::Subtract => left.subtract(&right, function),
            Self::Multiply => left.multiply(&right, function),
            Self::Divide => left.divide(&right, function),
            Self::Modulo => left.modulo(&right, function),
            Self::Less | Self::LessEqual | Self::Greater | Self::GreaterEqual => {
                if !left.has_order() {
                    return Err(Error::new(format!("no such overload: {function}")));
                }
                let order = left.compare(&right)?;
                Ok(Value::Bool(match self {
                    Self::Less => order.is_lt(),
                    Self::LessEqual => order.is_le(),
                    Self::Greater => order.is_gt(),
                    _ => order.is_ge(),
                }))
            }
            Self::In => match right {
                Value::List(list) => list.contains(&left).map(Value::Bool),
                Value::Map(map) => Ok(Value::Bool(match map.find(&left)? {
                    Some(found) => found.map(|_| true)?,
                    None => false,
                })),
                _ => Err(Error::no_such_overload()),
            },
            Self::Matches(pattern) => match (&left, &right) {
                (Value::String(text), Value::String(source)) => match pattern {
                    Some(pattern) => functions::matches(text, pattern),
                    None => functions::matches(text, &compile(source, Error::new)?),
                },
                (left, _) => match pattern {
                    Some(pattern) => functions::matches(searched(left)?, pattern),
                    None => Err(not_implemented(function, left)),
                },
            },
            Self::Contains => texts(&left, &right, |text, part| text.contains(part)),
            Self::StartsWith => texts(&left, &right, |text, part| text.starts_with(part)),
            Self::EndsWith => texts(&left, &right, |text, part| text.ends_with(part)),
            _ => Err(Error::no_such_overload()),
        }
    }
}

/// The text to search, and the pattern, which is compiled now if it is not a constant.
fn matcher<'b>(
    text: &'b Value<'_>,
    source: &Value<'_>,
    pattern: Option<&'b Pattern>,
) -> Result<(&'b str, Cow<'b, Pattern>), Error> {
    if let Some(pattern) = pattern {
        return Ok((searched(text)?, Cow::Borrowed(pattern)));
    }
    match (text.as_str(), source.as_str()) {
        (Some(text), Some(source)) => {
            let pattern = compile(source, |error| Error::new(format!("Illegal regex: {error}")))?;
            Ok((text, Cow::Owned(pattern)))
        }
        _ => Err(Error::no_such_overload()),
    }
}

/// The text that a compiled pattern searches: in cel-go all that Go has as a string, also the name of a type.
fn searched<'b>(value: &'b Value<'_>) -> Result<&'b str, Error> {
    match value {
        Value::String(text) => Ok(text),
        Value::Type(named) => Ok(named.name()),
        _ => Err(Error::no_such_overload()),
    }
}

/// The error of a function that values implement, for one that does not. Those that have methods of their own do not tell which
/// one is missing.
fn not_implemented(function: &str, value: &Value<'_>) -> Error {
    match value {
        Value::String(_) | Value::Duration(_) | Value::Timestamp(_) => Error::no_such_overload(),
        _ => Error::new(format!("no such overload: {function}")),
    }
}

/// Compiles a pattern during an evaluation. Its cost is that of its text.
fn compile(source: &str, failed: impl Fn(String) -> Error) -> Result<Pattern, Error> {
    work(source.len().saturating_mul(PATTERN_BYTE))?;
    let mut memory = Pattern::MEMORY;
    let pattern = Pattern::compile(source, &mut memory);
    work((Pattern::MEMORY - memory).saturating_mul(PATTERN_BYTE))?;
    pattern.map_err(failed)
}

fn texts<'a>(left: &Value<'a>, right: &Value<'a>, test: impl Fn(&str, &str) -> bool) -> Evaluated<'a> {
    match (left, right) {
        (Value::String(text), Value::String(part)) => Ok(Value::Bool(test(text, part))),
        _ => Err(Error::no_such_overload()),
    }
}

/// Whether a conversion has an overload for a value.
fn converts(value: &Value<'_>, target: Target) -> bool {
    match target {
        Target::Bool => matches!(value, Value::Bool(_) | Value::String(_)),
        Target::Bytes => matches!(value, Value::Bytes(_) | Value::String(_)),
        Target::Double => {
            matches!(value, Value::Double(_) | Value::Int(_) | Value::String(_) | Value::Uint(_))
        }
        Target::Duration => matches!(value, Value::Duration(_) | Value::String(_)),
        Target::Int => matches!(
            value,
            Value::Int(_)
                | Value::Double(_)
                | Value::Duration(_)
                | Value::String(_)
                | Value::Timestamp(_)
                | Value::Uint(_)
        ),
        Target::String => matches!(
            value,
            Value::String(_)
                | Value::Bool(_)
                | Value::Bytes(_)
                | Value::Double(_)
                | Value::Duration(_)
                | Value::Int(_)
                | Value::Timestamp(_)
                | Value::Uint(_)
        ),
        Target::Timestamp => matches!(value, Value::Timestamp(_) | Value::Int(_) | Value::String(_)),
        Target::Uint => matches!(value, Value::Uint(_) | Value::Double(_) | Value::Int(_) | Value::String(_)),
    }
}

fn no_overload(function: &str, args: &[Value<'_>]) -> Error {
    let types: Vec<_> = args.iter().map(Value::type_name).collect();
    Error::new(format!("no such overload: {function}({})", types.join(", ")))
}

impl Candidate {
    fn takes(&self, args: &[Value<'_>]) -> bool {
        self.overload.args.len() == args.len() && (is_unguarded(&self.overload) || self.accepts(args))
    }

    fn accepts(&self, args: &[Value<'_>]) -> bool {
        self.overload.args.iter().zip(args).all(|(declared, arg)| is_assignable(declared, arg))
    }
}

/// Whether cel-go leaves it to the code of an overload to look at its arguments, beside the functions that are operators here.
fn is_unguarded(overload: &Overload) -> bool {
    matches!(&*overload.id, "list_flatten" | "list_flatten_int")
}

/// Whether a value has a declared type; of lists and maps the first entry decides. cel-go's `IsAssignableRuntimeType`.
fn is_assignable(declared: &Type, value: &Value<'_>) -> bool {
    match (declared, value) {
        (Type::Dyn | Type::Any | Type::Param(_), _)
        | (Type::Nullable(_), Value::Null)
        | (Type::Bool, Value::Bool(_))
        | (Type::Int, Value::Int(_))
        | (Type::String, Value::String(_)) => true,
        (Type::List(element), Value::List(list)) => match list.get(0) {
            Some(Ok(first)) => is_assignable(element, &first),
            _ => true,
        },
        (Type::Map(entry), Value::Map(map)) => match map.entries().next() {
            Some((key, Ok(value))) => is_assignable(&entry.0, &key) && is_assignable(&entry.1, &value),
            _ => true,
        },
        (declared, value) => declared.name() == value.type_of().name(),
    }
}
