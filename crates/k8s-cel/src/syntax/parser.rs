//! From tokens to a parse tree, with the errors that ANTLR reports and the tree that it recovers.
//!
//! This interprets the [`Grammar`] with ANTLR's default error strategy and the limits that cel-go puts on it.
//! Where ANTLR looks ahead as far as it must, the grammar of CEL needs a few tokens, and the names before a
//! brace.

use super::{
    grammar::{Decision, Grammar, Label, Op, RULES, Role, Rule, Sync, level},
    lexer::{Kind, Lexer, Token, TokenSet, Unrecognized},
};

/// How deep each rule may nest.
pub(super) const DEPTH_MAX: u32 = 250;
/// How often the parser tries to go on after an error.
const RECOVERIES_MAX: u32 = 30;
/// How many tokens it skips to go on.
const SKIPPED_MAX: u32 = 256;
/// How many syntax errors are reported.
const ERRORS_MAX: u32 = 100;

/// A syntax error, and where it is: an offset in characters, or nowhere.
pub(super) struct SyntaxError {
    pub(super) offset: Option<u32>,
    pub(super) message: String,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    Token(Token),
    Node(usize),
}

#[derive(Clone, Copy, Debug)]
struct Node {
    label: Label,
    /// Where it starts, in characters.
    offset: u32,
    parts: (usize, usize),
}

/// The parse tree.
#[derive(Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    parts: Vec<(Role, Item)>,
}

impl Tree {
    pub(super) fn label(&self, node: usize) -> Label {
        self.nodes.get(node).map_or(Label::Broken, |node| node.label)
    }

    pub(super) fn offset(&self, node: usize) -> u32 {
        self.nodes.get(node).map_or(0, |node| node.offset)
    }

    pub(super) fn parts(&self, node: usize) -> &[(Role, Item)] {
        self.nodes.get(node).and_then(|node| self.parts.get(node.parts.0..node.parts.1)).unwrap_or_default()
    }

    fn find(&self, node: usize, role: Role) -> Option<Item> {
        self.parts(node).iter().find(|part| part.0 == role).map(|part| part.1)
    }

    pub(super) fn node(&self, node: usize, role: Role) -> Option<usize> {
        match self.find(node, role)? {
            Item::Node(node) => Some(node),
            Item::Token(_) => None,
        }
    }

    pub(super) fn token(&self, node: usize, role: Role) -> Option<Token> {
        match self.find(node, role)? {
            Item::Token(token) => Some(token),
            Item::Node(_) => None,
        }
    }
}

pub(super) struct Parsed {
    pub(super) tree: Tree,
    pub(super) errors: Vec<SyntaxError>,
    /// Missing if a limit stopped the parser.
    pub(super) root: Option<Item>,
}

pub(super) fn parse(text: &str) -> Parsed {
    let mut parser = Parser {
        grammar: Grammar::get(),
        text,
        lexer: Lexer::new(text),
        tokens: Vec::new(),
        unrecognized: Vec::new(),
        position: 0,
        frames: Vec::new(),
        pending: Vec::new(),
        depths: [0; RULES],
        tree: Tree::default(),
        errors: Vec::new(),
        stopped: false,
        reports: 0,
        recoveries: 0,
        recovering: false,
        last_error: None,
        last_error_places: Vec::new(),
    };
    let root = parser.run();
    Parsed { tree: parser.tree, errors: parser.errors, root }
}

/// A rule that is being parsed.
struct Frame {
    rule: Rule,
    level: u8,
    /// Its part in the rule that called it.
    role: Role,
    label: Label,
    offset: u32,
    /// Where its parts start in `pending`.
    base: usize,
    /// Where its caller goes on.
    back: usize,
}

/// Why a rule cannot go on.
#[derive(Clone, Copy)]
enum Failure {
    Mismatch,
    /// No alternative starts with the tokens from the next one to this many further.
    NoAlternative(usize),
}

struct Parser<'a> {
    grammar: &'static Grammar,
    text: &'a str,
    lexer: Lexer<'a>,
    tokens: Vec<Token>,
    unrecognized: Vec<Unrecognized>,
    position: usize,
    frames: Vec<Frame>,
    /// The parts of the rules that are being parsed.
    pending: Vec<(Role, Item)>,
    /// How deep each rule is nested.
    depths: [u32; RULES],
    tree: Tree,
    errors: Vec<SyntaxError>,
    stopped: bool,
    reports: u32,
    recoveries: u32,
    /// After an error, until a token matches: errors that may follow from it are not reported.
    recovering: bool,
    last_error: Option<usize>,
    last_error_places: Vec<usize>,
}

impl Parser<'_> {
    fn run(&mut self) -> Option<Item> {
        let grammar = self.grammar;
        let mut at = grammar.start(Rule::Start);
        self.enter(Rule::Start, 0, Role::Operand, at);
        while !self.stopped {
            let result = match grammar.op(at) {
                Op::Token(set, role) => self.take(at, *set, *role).map(|()| at + 1),
                Op::Rule { rule, level, role } => {
                    self.enter(*rule, *level, *role, at + 1);
                    Ok(grammar.start(*rule))
                }
                Op::Label(label) => {
                    if let Some(frame) = self.frames.last_mut() {
                        frame.label = *label;
                    }
                    Ok(at + 1)
                }
                Op::Wrap(label) => {
                    self.wrap(*label);
                    Ok(at + 1)
                }
                Op::Choose { decision, sync, alternatives, or_go } => {
                    self.synchronize(at, *sync).and_then(|()| self.choose(*decision, alternatives, *or_go))
                }
                Op::Go(to) => Ok(*to),
                Op::Return => match self.leave() {
                    Ok(back) => Ok(back),
                    Err(root) => return root,
                },
            };
            at = match result {
                Ok(next) => next,
                Err(failure) => {
                    self.report_failure(at, failure);
                    self.recover(at);
                    match self.leave() {
                        Ok(back) => back,
                        Err(root) => return root.filter(|_| !self.stopped),
                    }
                }
            };
        }
        None
    }

    fn enter(&mut self, rule: Rule, level: u8, role: Role, back: usize) {
        let offset = self.peek(0).offset;
        let base = self.pending.len();
        self.frames.push(Frame { rule, level, role, label: Label::Broken, offset, base, back });
        if let Some(depth) = self.depths.get_mut(rule as usize) {
            *depth += 1;
            if *depth > DEPTH_MAX {
                self.stop(format!("expression recursion limit exceeded: {DEPTH_MAX}"));
            }
        }
    }

    /// Ends a rule: where to go on, or what the outermost one found.
    fn leave(&mut self) -> Result<usize, Option<Item>> {
        let Some(frame) = self.frames.pop() else { return Err(None) };
        if let Some(depth) = self.depths.get_mut(frame.rule as usize) {
            *depth = depth.saturating_sub(1);
        }
        let item = self.build(&frame);
        if self.frames.is_empty() {
            return Err(Some(item));
        }
        self.pending.push((frame.role, item));
        Ok(frame.back)
    }

    fn build(&mut self, frame: &Frame) -> Item {
        let parts = self.pending.get(frame.base..).unwrap_or_default();
        let stands_for_operand = match frame.label {
            Label::Transparent => true,
            Label::Expr | Label::ConditionalOr | Label::ConditionalAnd => {
                parts.iter().all(|part| part.0 != Role::Operator)
            }
            _ => false,
        };
        if let ([(Role::Operand, item), ..], true) = (parts, stands_for_operand) {
            let item = *item;
            self.pending.truncate(frame.base);
            return item;
        }
        let start = self.tree.parts.len();
        self.tree.parts.extend(self.pending.drain(frame.base..));
        let parts = (start, self.tree.parts.len());
        self.tree.nodes.push(Node { label: frame.label, offset: frame.offset, parts });
        Item::Node(self.tree.nodes.len() - 1)
    }

    fn wrap(&mut self, label: Label) {
        let Some(frame) = self.frames.pop() else { return };
        let operand = self.build(&frame);
        self.pending.push((Role::Operand, operand));
        self.frames.push(Frame { label, ..frame });
    }

    /// A token ahead.
    fn peek(&mut self, ahead: usize) -> Token {
        let wanted = self.position + ahead;
        while wanted >= self.tokens.len() {
            match self.tokens.last() {
                Some(last) if last.kind == Kind::Eof => return *last,
                _ => {}
            }
            match self.lexer.next() {
                Ok(token) => self.tokens.push(token),
                Err(unrecognized) => {
                    let text = self.text.get(unrecognized.range.clone()).unwrap_or_default();
                    self.report(unrecognized.offset, &format!("token recognition error at: '{text}'"));
                    self.unrecognized.push(unrecognized);
                }
            }
        }
        self.tokens.get(wanted).copied().unwrap_or(Token { kind: Kind::Eof, offset: 0, start: 0, end: 0 })
    }

    fn kind(&mut self, ahead: usize) -> Kind {
        self.peek(ahead).kind
    }

    fn consume(&mut self) {
        if self.kind(0) != Kind::Eof {
            self.position += 1;
            // cel-go's lexer has read the token that comes next.
            self.peek(0);
        }
    }

    fn keep(&mut self, role: Role, token: Token) {
        if role != Role::Punctuation {
            self.pending.push((role, Item::Token(token)));
        }
    }

    fn take(&mut self, at: usize, set: TokenSet, role: Role) -> Result<(), Failure> {
        let token = self.peek(0);
        if set.contains(token.kind) {
            self.matched();
            self.keep(role, token);
            self.consume();
            return Ok(());
        }
        self.count_recovery();
        if self.stopped {
            return Ok(());
        }
        if self.drop_one(at) {
            let token = self.peek(0);
            self.keep(role, token);
            self.consume();
            return Ok(());
        }
        if !self.can_follow(at + 1).contains(token.kind) {
            return Err(Failure::Mismatch);
        }
        let expected = self.can_follow(at);
        if !self.recovering {
            self.recovering = true;
            let message = format!("missing {expected} at {}", self.display(token));
            self.report(token.offset, &message);
        }
        // The token is made up, where the last one is if there are no more.
        let before = self.position.checked_sub(1).and_then(|before| self.tokens.get(before));
        let offset = before.filter(|_| token.kind == Kind::Eof).map_or(token.offset, |before| before.offset);
        self.keep(role, Token { kind: expected.first(), offset, start: 0, end: 0 });
        Ok(())
    }

    fn choose(
        &mut self,
        decision: Decision,
        alternatives: &[usize],
        or_go: Option<usize>,
    ) -> Result<usize, Failure> {
        let chosen = match decision {
            Decision::First => {
                let kind = self.kind(0);
                let fits = |at: &usize| self.grammar.next(*at).contains(kind);
                alternatives.iter().position(fits)
            }
            Decision::Operator => {
                let operator = self.kind(0);
                let wanted = self.frames.last().map_or(0, |frame| frame.level);
                let fits =
                    |at: &usize| self.grammar.next(*at).contains(operator) && level(operator) >= wanted;
                alternatives.iter().position(fits)
            }
            Decision::Element => {
                let (comma, element) = (self.kind(0), self.kind(1));
                let fits = |at: &usize| comma == Kind::Comma && self.grammar.next(*at + 1).contains(element);
                alternatives.iter().position(fits)
            }
            Decision::Unary => Some(self.choose_unary()?),
            Decision::Minus => match self.kind(0) {
                Kind::Minus if self.kind(1) == Kind::Minus || self.starts(Rule::Member, 1) => Some(0),
                Kind::Minus => return Err(Failure::NoAlternative(1)),
                _ if self.starts(Rule::Member, 0) => None,
                _ => return Err(Failure::NoAlternative(0)),
            },
            Decision::Member => match (self.kind(0), self.kind(1)) {
                (Kind::LeftBracket, _) => Some(2),
                (_, Kind::Question | Kind::EscapedIdentifier) => Some(0),
                (_, Kind::Identifier) => Some(usize::from(self.kind(2) == Kind::LeftParen)),
                _ => return Err(Failure::NoAlternative(1)),
            },
            Decision::Primary => Some(self.choose_primary()?),
            Decision::Literal => match (self.kind(0), self.kind(1)) {
                (Kind::Int, _) | (Kind::Minus, Kind::Int) => Some(0),
                (Kind::Uint, _) => Some(1),
                (Kind::Float, _) | (Kind::Minus, Kind::Float) => Some(2),
                (Kind::String, _) => Some(3),
                (Kind::Bytes, _) => Some(4),
                (Kind::True, _) => Some(5),
                (Kind::False, _) => Some(6),
                (Kind::Null, _) => Some(7),
                (kind, _) => return Err(Failure::NoAlternative(usize::from(kind == Kind::Minus))),
            },
        };
        let chosen = chosen.and_then(|index| alternatives.get(index).copied());
        chosen.or(or_go).ok_or(Failure::NoAlternative(0))
    }

    fn starts(&mut self, rule: Rule, ahead: usize) -> bool {
        let kind = self.kind(ahead);
        self.grammar.next(self.grammar.start(rule)).contains(kind)
    }

    fn choose_unary(&mut self) -> Result<usize, Failure> {
        match self.kind(0) {
            Kind::Exclamation => Ok(1),
            Kind::Minus => match self.kind(1) {
                Kind::Int | Kind::Float => Ok(0),
                _ if self.starts(Rule::Member, 1) => Ok(2),
                _ => Err(Failure::NoAlternative(1)),
            },
            _ if self.starts(Rule::Member, 0) => Ok(0),
            _ => Err(Failure::NoAlternative(0)),
        }
    }

    fn choose_primary(&mut self) -> Result<usize, Failure> {
        let mut name = usize::from(self.kind(0) == Kind::Dot);
        match self.kind(name) {
            Kind::Identifier => {}
            _ if name == 1 => return Err(Failure::NoAlternative(1)),
            Kind::LeftParen => return Ok(2),
            Kind::LeftBracket => return Ok(3),
            Kind::LeftBrace => return Ok(4),
            _ if self.starts(Rule::Literal, 0) => return Ok(6),
            _ => return Err(Failure::NoAlternative(0)),
        }
        if self.kind(name + 1) == Kind::LeftParen {
            return Ok(1);
        }
        // Names and dots up to a brace are the name of a message.
        while self.kind(name + 1) == Kind::Dot && self.kind(name + 2) == Kind::Identifier {
            name += 2;
        }
        Ok(if self.kind(name + 1) == Kind::LeftBrace { 5 } else { 0 })
    }

    // What ANTLR's default error strategy does.

    fn report(&mut self, offset: u32, message: &str) {
        if self.stopped {
            return;
        }
        let message = if self.reports < ERRORS_MAX {
            format!("Syntax error: {message}")
        } else {
            self.stopped = true;
            format!("Syntax error: More than {ERRORS_MAX} syntax errors")
        };
        self.reports += 1;
        self.errors.push(SyntaxError { offset: Some(offset), message });
    }

    /// A limit is reached.
    fn stop(&mut self, message: String) {
        if !self.stopped {
            self.stopped = true;
            self.errors.push(SyntaxError { offset: None, message });
        }
    }

    fn matched(&mut self) {
        self.recovering = false;
        self.last_error = None;
        self.last_error_places.clear();
    }

    /// The tokens that can come at a place, in its context.
    fn can_follow(&self, at: usize) -> TokenSet {
        let mut set = self.grammar.next(at);
        for frame in self.frames.iter().rev().take(self.frames.len().saturating_sub(1)) {
            if !set.has_end() {
                return set;
            }
            set = set.without_end().union(self.grammar.next(frame.back));
        }
        if set.has_end() { set.without_end().union(TokenSet::of(&[Kind::Eof])) } else { set }
    }

    /// What can follow any of the rules that are being parsed.
    fn recovery_set(&self) -> TokenSet {
        let callers = self.frames.iter().skip(1);
        callers.fold(TokenSet::default(), |set, frame| set.union(self.grammar.next(frame.back))).without_end()
    }

    fn count_recovery(&mut self) {
        if self.recoveries == RECOVERIES_MAX {
            let offset = self.peek(0).offset;
            self.report(offset, &format!("error recovery attempt limit exceeded: {RECOVERIES_MAX}"));
            self.stopped = true;
        }
        self.recoveries += 1;
    }

    fn report_unwanted(&mut self, at: usize) {
        if !self.recovering {
            self.recovering = true;
            let token = self.peek(0);
            let message =
                format!("extraneous input {} expecting {}", self.display(token), self.can_follow(at));
            self.report(token.offset, &message);
        }
    }

    /// Drops a token if the one after it fits.
    fn drop_one(&mut self, at: usize) -> bool {
        let after = self.kind(1);
        if !self.can_follow(at).contains(after) {
            return false;
        }
        self.report_unwanted(at);
        self.consume();
        self.matched();
        true
    }

    fn synchronize(&mut self, at: usize, sync: Sync) -> Result<(), Failure> {
        let next = self.grammar.next(at);
        if self.recovering || next.has_end() || next.contains(self.kind(0)) {
            return Ok(());
        }
        match sync {
            Sync::Before if self.drop_one(at) => Ok(()),
            Sync::Before => Err(Failure::Mismatch),
            Sync::AfterTurn => {
                self.report_unwanted(at);
                let set = self.can_follow(at).union(self.recovery_set());
                while self.kind(0) != Kind::Eof && !set.contains(self.kind(0)) {
                    self.consume();
                }
                Ok(())
            }
        }
    }

    fn report_failure(&mut self, at: usize, failure: Failure) {
        if self.recovering {
            return;
        }
        self.recovering = true;
        let token = self.peek(0);
        match failure {
            Failure::Mismatch => {
                let message =
                    format!("mismatched input {} expecting {}", self.display(token), self.can_follow(at));
                self.report(token.offset, &message);
            }
            Failure::NoAlternative(ahead) => {
                let offending = self.peek(ahead);
                let input = match token.kind {
                    Kind::Eof => "<EOF>".to_owned(),
                    _ => self.text_between(token, offending),
                };
                // cel-go has another message for a reserved word where a name is wanted.
                let second = input.char_indices().nth(1).and_then(|(at, _)| input.get(at..));
                let message = match second {
                    Some(word @ ("true" | "false" | "null")) if !input.starts_with(['\t', '\n', '\r']) => {
                        format!("mismatched input '{word}' expecting IDENTIFIER")
                    }
                    _ => format!("no viable alternative at input '{}'", escape(&input)),
                };
                self.report(offending.offset, &message);
            }
        }
    }

    /// Skips tokens up to one that can follow.
    fn recover(&mut self, at: usize) {
        self.count_recovery();
        let mut skipped = 0;
        if self.last_error == Some(self.position) && self.last_error_places.contains(&at) {
            self.skip(&mut skipped);
        }
        self.last_error = Some(self.position);
        self.last_error_places.push(at);
        let set = self.recovery_set();
        while !self.stopped && self.kind(0) != Kind::Eof && !set.contains(self.kind(0)) {
            self.skip(&mut skipped);
        }
    }

    fn skip(&mut self, skipped: &mut u32) {
        if *skipped == SKIPPED_MAX {
            self.stop(format!("error recovery token lookahead limit exceeded: {SKIPPED_MAX}"));
        }
        *skipped += 1;
        self.consume();
    }

    fn display(&self, token: Token) -> String {
        match token.kind {
            Kind::Eof => "'<EOF>'".to_owned(),
            _ => format!("'{}'", escape(token.text(self.text))),
        }
    }

    /// The text from a token to another, without what was not recognized.
    fn text_between(&self, first: Token, last: Token) -> String {
        let mut text = String::new();
        let mut at = first.start;
        for unrecognized in &self.unrecognized {
            let Unrecognized { range, .. } = unrecognized;
            if range.start >= at && range.end <= last.end {
                text.push_str(self.text.get(at..range.start).unwrap_or_default());
                at = range.end;
            }
        }
        text.push_str(self.text.get(at..last.end).unwrap_or_default());
        text
    }
}

fn escape(text: &str) -> String {
    text.replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}
