//! The abstract syntax tree: cel-spec's `syntax.proto`, after macros are expanded.

use std::sync::Arc;

use super::source::Source;

/// Identifies an expression inside its tree. The numbers are those that cel-go gives, because its cost tracker finds values by
/// them.
pub(crate) type Id = u32;

/// A parsed expression with the text that it came from.
#[derive(Debug)]
pub(crate) struct Ast {
    pub(crate) root: Expr,
    pub(crate) source: Arc<Source>,
    /// The position of each expression, by its id: an offset in characters (not bytes) from the start of the source.
    pub(crate) offsets: Vec<u32>,
}

#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub(crate) id: Id,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Literal(Literal),
    /// A name, perhaps with a leading dot. Qualified names are `Select`s until the checker resolves them.
    Ident(Arc<str>),
    /// `operand.field`; with `test_only`, `has(operand.field)`.
    Select {
        operand: Box<Expr>,
        field: Arc<str>,
        test_only: bool,
    },
    /// Functions, methods and operators, whose names are cel-go's, such as `_+_` and `_[?_]`.
    Call {
        function: Arc<str>,
        target: Option<Box<Expr>>,
        args: Vec<Expr>,
    },
    /// `optional`: the indices of the elements with a `?`.
    List {
        elements: Vec<Expr>,
        optional: Vec<u32>,
    },
    Map(Vec<Entry<Expr>>),
    /// `type_name{field: value}`.
    Struct {
        type_name: Arc<str>,
        fields: Vec<Entry<Arc<str>>>,
    },
    Comprehension(Box<Comprehension>),
}

/// An entry of a map, whose key is an expression, or a field of a struct, whose key is a name.
#[derive(Clone, Debug)]
pub(crate) struct Entry<K> {
    pub(crate) id: Id,
    pub(crate) key: K,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// The loop that macros expand to.
#[derive(Clone, Debug)]
pub(crate) struct Comprehension {
    pub(crate) iter_range: Expr,
    pub(crate) iter_var: Arc<str>,
    /// The second variable of a comprehension with two.
    pub(crate) iter_var2: Option<Arc<str>>,
    pub(crate) accu_var: Arc<str>,
    pub(crate) accu_init: Expr,
    pub(crate) loop_condition: Expr,
    pub(crate) loop_step: Expr,
    pub(crate) result: Expr,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
}
