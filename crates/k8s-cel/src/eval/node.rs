//! The plan: a tree of steps in which names, functions and constants are resolved.

use std::sync::Arc;

use super::{cost::CallCost, operator::Operator};
use crate::value::Value;

#[derive(Debug)]
pub(super) enum Node {
    Constant(Value<'static>),
    /// A name, a selection, an index, or a choice.
    Attribute(Attribute),
    /// `has(a.b)`.
    Test(Attribute),
    Or(Vec<Node>),
    And(Vec<Node>),
    Equal(Box<(Node, Node)>),
    NotEqual(Box<(Node, Node)>),
    Call(Box<Call>),
    /// `x in [constants]`.
    Member(Box<Member>),
    /// `a.or(b)`.
    OptionalOr(Box<(Node, Node)>),
    /// `a.orValue(b)`.
    OptionalOrValue(Box<(Node, Node)>),
    /// Elements, and whether each is optional.
    List(Vec<(Node, bool)>),
    Map(Vec<(Node, Node, bool)>),
    Struct(Box<Struct>),
    Fold(Box<Fold>),
}

/// Where a value begins, and the steps into it.
#[derive(Debug)]
pub(super) struct Attribute {
    pub(super) base: Base,
    pub(super) qualifiers: Vec<Arc<Qualifier>>,
}

#[derive(Debug)]
pub(super) enum Base {
    /// A variable of a comprehension.
    Slot(usize),
    /// A variable of the expression.
    Variable(usize),
    /// What an expression that was not checked may refer to: the first name that exists is it. Longer ones come first.
    Names(Vec<Name>),
    Node(Box<Node>),
    /// `condition ? a : b`. Steps behind a choice are steps of both sides.
    Choice(Box<Choice>),
}

#[derive(Debug)]
pub(super) struct Name {
    pub(super) variable: usize,
    /// How many of the steps belong to the name.
    pub(super) steps: usize,
    /// The type with this name.
    pub(super) named_type: Option<Value<'static>>,
}

#[derive(Debug)]
pub(super) struct Choice {
    pub(super) condition: Node,
    pub(super) yes: Attribute,
    pub(super) no: Attribute,
}

/// A step: `.field`, `[index]`, and with `optional` `.?field`, `[?index]`.
#[derive(Debug)]
pub(super) struct Qualifier {
    pub(super) key: Key,
    pub(super) optional: bool,
    /// Whether only the presence is asked for.
    pub(super) test: bool,
    /// Whether the checker knows that the value is an object of a mutating policy: others do not reach its fields.
    pub(super) of_object: bool,
}

#[derive(Debug)]
pub(super) enum Key {
    Constant(Value<'static>),
    Computed(Attribute),
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) function: Arc<str>,
    pub(super) operator: Operator,
    pub(super) args: Vec<Node>,
    pub(super) cost: CallCost,
    /// The slot that the first argument is taken from: it is the accumulator, which this call replaces.
    pub(super) takes: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) needle: Node,
    pub(super) set: Vec<Value<'static>>,
}

#[derive(Debug)]
pub(super) struct Struct {
    pub(super) type_name: Arc<str>,
    /// Whether the type is one of mutating policies.
    pub(super) of_policy: bool,
    pub(super) fields: Vec<(Arc<str>, Node, bool)>,
}

#[derive(Debug)]
pub(super) struct Fold {
    pub(super) range: Node,
    pub(super) iter: usize,
    pub(super) iter2: Option<usize>,
    pub(super) accu: usize,
    pub(super) init: Node,
    pub(super) condition: Node,
    pub(super) step: Node,
    pub(super) result: Node,
}
