//! The grammar as data: the parser rules of cel-go's `CEL.g4`, compiled for an interpreter.
//!
//! ANTLR words an error by the place in the grammar at which a parser stands, and recovers by what can follow
//! there. A grammar that is data knows both at every place, which code would have to repeat.

use std::sync::LazyLock;

use super::lexer::{Kind, TokenSet};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum Rule {
    Start,
    Expr,
    ConditionalOr,
    ConditionalAnd,
    Relation,
    Calc,
    Unary,
    Member,
    Primary,
    ExprList,
    ListInit,
    FieldInitializerList,
    OptField,
    MapInitializerList,
    EscapeIdent,
    OptExpr,
    Literal,
}

/// How many rules there are.
pub(super) const RULES: usize = 17;

/// What a node of the parse tree is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Label {
    /// Stands for its operand if it has no operator.
    Expr,
    ConditionalOr,
    ConditionalAnd,
    Relation,
    Calc,
    /// Stands for its operand.
    Transparent,
    LogicalNot,
    Negate,
    Select,
    MemberCall,
    Index,
    Ident,
    GlobalCall,
    CreateList,
    CreateStruct,
    CreateMessage,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    True,
    False,
    Null,
    /// A list of expressions, elements or entries; an element or a field with its `?`; a field's name.
    Part,
    /// A name in backquotes.
    EscapedName,
    /// None of its alternatives could be chosen, because of a syntax error.
    Broken,
    /// The same of an operand with its signs, which cel-go gives a place.
    BrokenUnary,
}

/// What a part of a node is to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    /// Not kept.
    Punctuation,
    Operand,
    Operator,
    /// What follows an operator, a colon or a bracket.
    Second,
    Third,
    /// The `?` of optional syntax.
    Optional,
    LeadingDot,
    Name,
    /// Arguments, elements or entries.
    List,
    Key,
    Colon,
    Sign,
}

/// How to choose between alternatives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Decision {
    /// By the next token.
    First,
    /// One more operator, if it binds as tightly as the context wants.
    Operator,
    /// One more element after a comma, which may also be a trailing one.
    Element,
    /// `-1` is a literal, `-a` an operation.
    Unary,
    /// One more `-`.
    Minus,
    Member,
    Primary,
    Literal,
}

/// What ANTLR does about a token that does not fit, before it chooses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sync {
    /// It drops one token, or gives the rule up.
    Before,
    /// After a turn of a loop it drops tokens until one fits.
    AfterTurn,
}

enum Item {
    Token(Kind, Role),
    OneOf(TokenSet, Role),
    Rule(Rule, Role),
    /// A rule with left recursion, for operators of this level and above.
    Operand(Rule, u8, Role),
    Label(Label),
    /// What the rule has parsed becomes the operand of a new node.
    Wrap(Label),
    Optional(&'static [Item]),
    Star(Decision, &'static [Item]),
    Plus(Decision, &'static [Item]),
    Choice(Decision, &'static [&'static [Item]]),
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Token(TokenSet, Role),
    Rule { rule: Rule, level: u8, role: Role },
    Label(Label),
    Wrap(Label),
    Choose { decision: Decision, sync: Sync, alternatives: Vec<usize>, or_go: Option<usize> },
    Go(usize),
    Return,
}

pub(super) struct Grammar {
    ops: Vec<Op>,
    /// Where each rule starts.
    starts: [usize; RULES],
    /// The tokens that can come at each place, within its rule.
    next: Vec<TokenSet>,
}

const RELATIONS: TokenSet = TokenSet::of(&[
    Kind::Less,
    Kind::LessEquals,
    Kind::GreaterEquals,
    Kind::Greater,
    Kind::Equals,
    Kind::NotEquals,
    Kind::In,
]);
const PRODUCTS: TokenSet = TokenSet::of(&[Kind::Star, Kind::Slash, Kind::Percent]);
const SUMS: TokenSet = TokenSet::of(&[Kind::Plus, Kind::Minus]);

/// How tightly a binary operator binds, within its rule.
pub(super) const fn level(operator: Kind) -> u8 {
    if PRODUCTS.contains(operator) { 2 } else { 1 }
}

const fn rule(rule: Rule) -> &'static [Item] {
    use Decision::{Element, First, Literal, Member, Minus, Operator, Primary, Unary};
    use Item::{Choice, Label as Is, OneOf, Operand, Optional, Plus, Rule as R, Star, Token as T, Wrap};
    use Kind::{
        Bytes, Colon, Comma, Dot, Eof, EscapedIdentifier, Exclamation, False, Float, Identifier, Int,
        LeftBrace, LeftBracket, LeftParen, LogicalAnd, LogicalOr, Null, Question, RightBrace, RightBracket,
        RightParen, String, True, Uint,
    };
    match rule {
        Rule::Start => &[Is(Label::Transparent), R(Rule::Expr, Role::Operand), T(Eof, Role::Punctuation)],
        Rule::Expr => &[
            Is(Label::Expr),
            R(Rule::ConditionalOr, Role::Operand),
            Optional(&[
                T(Question, Role::Operator),
                R(Rule::ConditionalOr, Role::Second),
                T(Colon, Role::Punctuation),
                R(Rule::Expr, Role::Third),
            ]),
        ],
        Rule::ConditionalOr => &[
            Is(Label::ConditionalOr),
            R(Rule::ConditionalAnd, Role::Operand),
            Star(First, &[T(LogicalOr, Role::Operator), R(Rule::ConditionalAnd, Role::Second)]),
        ],
        Rule::ConditionalAnd => &[
            Is(Label::ConditionalAnd),
            R(Rule::Relation, Role::Operand),
            Star(First, &[T(LogicalAnd, Role::Operator), R(Rule::Relation, Role::Second)]),
        ],
        Rule::Relation => &[
            Is(Label::Transparent),
            R(Rule::Calc, Role::Operand),
            Star(
                Operator,
                &[
                    Wrap(Label::Relation),
                    OneOf(RELATIONS, Role::Operator),
                    Operand(Rule::Relation, 2, Role::Second),
                ],
            ),
        ],
        Rule::Calc => &[
            Is(Label::Transparent),
            R(Rule::Unary, Role::Operand),
            Star(
                Operator,
                &[Choice(
                    First,
                    &[
                        &[
                            Wrap(Label::Calc),
                            OneOf(PRODUCTS, Role::Operator),
                            Operand(Rule::Calc, 3, Role::Second),
                        ],
                        &[
                            Wrap(Label::Calc),
                            OneOf(SUMS, Role::Operator),
                            Operand(Rule::Calc, 2, Role::Second),
                        ],
                    ],
                )],
            ),
        ],
        Rule::Unary => &[
            Is(Label::BrokenUnary),
            Choice(
                Unary,
                &[
                    &[Is(Label::Transparent), R(Rule::Member, Role::Operand)],
                    &[
                        Is(Label::LogicalNot),
                        Plus(First, &[T(Exclamation, Role::Operator)]),
                        R(Rule::Member, Role::Operand),
                    ],
                    &[
                        Is(Label::Negate),
                        Plus(Minus, &[T(Kind::Minus, Role::Operator)]),
                        R(Rule::Member, Role::Operand),
                    ],
                ],
            ),
        ],
        Rule::Member => &[
            Is(Label::Transparent),
            R(Rule::Primary, Role::Operand),
            Star(
                First,
                &[Choice(
                    Member,
                    &[
                        &[
                            Wrap(Label::Select),
                            T(Dot, Role::Operator),
                            Optional(&[T(Question, Role::Optional)]),
                            R(Rule::EscapeIdent, Role::Name),
                        ],
                        &[
                            Wrap(Label::MemberCall),
                            T(Dot, Role::Punctuation),
                            T(Identifier, Role::Name),
                            T(LeftParen, Role::Operator),
                            Optional(&[R(Rule::ExprList, Role::List)]),
                            T(RightParen, Role::Punctuation),
                        ],
                        &[
                            Wrap(Label::Index),
                            T(LeftBracket, Role::Operator),
                            Optional(&[T(Question, Role::Optional)]),
                            R(Rule::Expr, Role::Second),
                            T(RightBracket, Role::Punctuation),
                        ],
                    ],
                )],
            ),
        ],
        Rule::Primary => &[Choice(
            Primary,
            &[
                &[Is(Label::Ident), Optional(&[T(Dot, Role::LeadingDot)]), T(Identifier, Role::Name)],
                &[
                    Is(Label::GlobalCall),
                    Optional(&[T(Dot, Role::LeadingDot)]),
                    T(Identifier, Role::Name),
                    T(LeftParen, Role::Operator),
                    Optional(&[R(Rule::ExprList, Role::List)]),
                    T(RightParen, Role::Punctuation),
                ],
                &[
                    Is(Label::Transparent),
                    T(LeftParen, Role::Punctuation),
                    R(Rule::Expr, Role::Operand),
                    T(RightParen, Role::Punctuation),
                ],
                &[
                    Is(Label::CreateList),
                    T(LeftBracket, Role::Operator),
                    Optional(&[R(Rule::ListInit, Role::List)]),
                    Optional(&[T(Comma, Role::Punctuation)]),
                    T(RightBracket, Role::Punctuation),
                ],
                &[
                    Is(Label::CreateStruct),
                    T(LeftBrace, Role::Operator),
                    Optional(&[R(Rule::MapInitializerList, Role::List)]),
                    Optional(&[T(Comma, Role::Punctuation)]),
                    T(RightBrace, Role::Punctuation),
                ],
                &[
                    Is(Label::CreateMessage),
                    Optional(&[T(Dot, Role::LeadingDot)]),
                    T(Identifier, Role::Name),
                    Star(First, &[T(Dot, Role::Punctuation), T(Identifier, Role::Name)]),
                    T(LeftBrace, Role::Operator),
                    Optional(&[R(Rule::FieldInitializerList, Role::List)]),
                    Optional(&[T(Comma, Role::Punctuation)]),
                    T(RightBrace, Role::Punctuation),
                ],
                &[Is(Label::Transparent), R(Rule::Literal, Role::Operand)],
            ],
        )],
        Rule::ExprList => &[
            Is(Label::Part),
            R(Rule::Expr, Role::Operand),
            Star(First, &[T(Comma, Role::Punctuation), R(Rule::Expr, Role::Operand)]),
        ],
        Rule::ListInit => &[
            Is(Label::Part),
            R(Rule::OptExpr, Role::Operand),
            Star(Element, &[T(Comma, Role::Punctuation), R(Rule::OptExpr, Role::Operand)]),
        ],
        Rule::FieldInitializerList => &[
            Is(Label::Part),
            R(Rule::OptField, Role::Key),
            T(Colon, Role::Colon),
            R(Rule::Expr, Role::Second),
            Star(
                Element,
                &[
                    T(Comma, Role::Punctuation),
                    R(Rule::OptField, Role::Key),
                    T(Colon, Role::Colon),
                    R(Rule::Expr, Role::Second),
                ],
            ),
        ],
        Rule::OptField => {
            &[Is(Label::Part), Optional(&[T(Question, Role::Optional)]), R(Rule::EscapeIdent, Role::Name)]
        }
        Rule::MapInitializerList => &[
            Is(Label::Part),
            R(Rule::OptExpr, Role::Key),
            T(Colon, Role::Colon),
            R(Rule::Expr, Role::Second),
            Star(
                Element,
                &[
                    T(Comma, Role::Punctuation),
                    R(Rule::OptExpr, Role::Key),
                    T(Colon, Role::Colon),
                    R(Rule::Expr, Role::Second),
                ],
            ),
        ],
        Rule::EscapeIdent => &[Choice(
            First,
            &[
                &[Is(Label::Part), T(Identifier, Role::Name)],
                &[Is(Label::EscapedName), T(EscapedIdentifier, Role::Name)],
            ],
        )],
        Rule::OptExpr => {
            &[Is(Label::Part), Optional(&[T(Question, Role::Optional)]), R(Rule::Expr, Role::Operand)]
        }
        Rule::Literal => &[Choice(
            Literal,
            &[
                &[Is(Label::Int), Optional(&[T(Kind::Minus, Role::Sign)]), T(Int, Role::Name)],
                &[Is(Label::Uint), T(Uint, Role::Name)],
                &[Is(Label::Double), Optional(&[T(Kind::Minus, Role::Sign)]), T(Float, Role::Name)],
                &[Is(Label::String), T(String, Role::Name)],
                &[Is(Label::Bytes), T(Bytes, Role::Name)],
                &[Is(Label::True), T(True, Role::Name)],
                &[Is(Label::False), T(False, Role::Name)],
                &[Is(Label::Null), T(Null, Role::Name)],
            ],
        )],
    }
}

const ALL_RULES: [Rule; RULES] = [
    Rule::Start,
    Rule::Expr,
    Rule::ConditionalOr,
    Rule::ConditionalAnd,
    Rule::Relation,
    Rule::Calc,
    Rule::Unary,
    Rule::Member,
    Rule::Primary,
    Rule::ExprList,
    Rule::ListInit,
    Rule::FieldInitializerList,
    Rule::OptField,
    Rule::MapInitializerList,
    Rule::EscapeIdent,
    Rule::OptExpr,
    Rule::Literal,
];

impl Grammar {
    pub(super) fn get() -> &'static Self {
        static GRAMMAR: LazyLock<Grammar> = LazyLock::new(Grammar::compile);
        &GRAMMAR
    }

    fn compile() -> Self {
        let mut grammar = Self { ops: Vec::new(), starts: [0; RULES], next: Vec::new() };
        let mut starts = grammar.starts;
        for (start, name) in starts.iter_mut().zip(ALL_RULES) {
            *start = grammar.ops.len();
            grammar.items(rule(name));
            grammar.ops.push(Op::Return);
        }
        grammar.starts = starts;
        grammar.next = (0..grammar.ops.len()).map(|at| grammar.reachable(at)).collect();
        grammar
    }

    fn items(&mut self, items: &[Item]) {
        for item in items {
            self.item(item);
        }
    }

    fn item(&mut self, item: &Item) {
        match *item {
            Item::Token(kind, role) => self.ops.push(Op::Token(TokenSet::of(&[kind]), role)),
            Item::OneOf(set, role) => self.ops.push(Op::Token(set, role)),
            Item::Rule(rule, role) => self.ops.push(Op::Rule { rule, level: 0, role }),
            Item::Operand(rule, level, role) => self.ops.push(Op::Rule { rule, level, role }),
            Item::Label(label) => self.ops.push(Op::Label(label)),
            Item::Wrap(label) => self.ops.push(Op::Wrap(label)),
            Item::Optional(items) => {
                let choice = self.reserve();
                self.items(items);
                self.choose(choice, Decision::First, Sync::Before, vec![choice + 1], Some(self.ops.len()));
            }
            Item::Star(decision, items) => {
                let choice = self.reserve();
                self.items(items);
                let again = self.reserve();
                let end = Some(self.ops.len());
                self.choose(choice, decision, Sync::Before, vec![choice + 1], end);
                self.choose(again, decision, Sync::AfterTurn, vec![choice + 1], end);
            }
            Item::Plus(decision, items) => {
                let start = self.ops.len();
                self.items(items);
                let again = self.reserve();
                self.choose(again, decision, Sync::AfterTurn, vec![start], Some(again + 1));
            }
            Item::Choice(decision, alternatives) => {
                let choice = self.reserve();
                let mut starts = Vec::new();
                let mut ends = Vec::new();
                for items in alternatives {
                    starts.push(self.ops.len());
                    self.items(items);
                    ends.push(self.reserve());
                }
                let end = self.ops.len();
                for go in ends {
                    self.set(go, Op::Go(end));
                }
                self.choose(choice, decision, Sync::Before, starts, None);
            }
        }
    }

    /// Makes place for what is known later.
    fn reserve(&mut self) -> usize {
        self.ops.push(Op::Return);
        self.ops.len() - 1
    }

    fn set(&mut self, at: usize, op: Op) {
        if let Some(place) = self.ops.get_mut(at) {
            *place = op;
        }
    }

    fn choose(
        &mut self,
        at: usize,
        decision: Decision,
        sync: Sync,
        alternatives: Vec<usize>,
        or_go: Option<usize>,
    ) {
        self.set(at, Op::Choose { decision, sync, alternatives, or_go });
    }

    pub(super) fn start(&self, rule: Rule) -> usize {
        self.starts.get(rule as usize).copied().unwrap_or_default()
    }

    pub(super) fn op(&self, at: usize) -> &Op {
        self.ops.get(at).unwrap_or(&Op::Return)
    }

    pub(super) fn next(&self, at: usize) -> TokenSet {
        self.next.get(at).copied().unwrap_or_default()
    }

    /// Every rule takes at least one token, and none starts with itself.
    fn reachable(&self, at: usize) -> TokenSet {
        match self.op(at) {
            Op::Token(set, _) => *set,
            Op::Rule { rule, .. } => self.reachable(self.start(*rule)),
            Op::Label(_) | Op::Wrap(_) => self.reachable(at + 1),
            Op::Choose { alternatives, or_go, .. } => alternatives
                .iter()
                .chain(or_go)
                .fold(TokenSet::default(), |set, at| set.union(self.reachable(*at))),
            Op::Go(to) => self.reachable(*to),
            Op::Return => TokenSet::END_OF_RULE,
        }
    }
}
