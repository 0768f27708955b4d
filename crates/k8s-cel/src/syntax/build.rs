//! From a parse tree to an abstract syntax tree: macros are expanded, literals read and names checked.

use std::sync::Arc;

use super::{
    ast::{Entry, Expr, Id, Kind, Literal},
    grammar::{Label, Role},
    ids::{Ids, Place, hidden},
    lexer::{Kind as TokenKind, Token},
    macros,
    options::{Extension, Options},
    parser::{DEPTH_MAX, Item, Tree},
    unescape::unescape,
};

/// An error that is not one of syntax.
pub(super) struct BuildError {
    pub(super) place: Place,
    pub(super) message: String,
}

/// A limit is reached.
struct Stop;

type Result<T> = std::result::Result<T, Stop>;

/// The words that no identifier may be. They are names of fields still.
pub(crate) const RESERVED: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "package",
    "namespace",
    "null",
    "return",
    "true",
    "var",
    "void",
    "while",
];

pub(super) struct Builder<'a> {
    text: &'a str,
    tree: &'a Tree,
    options: Options,
    ids: Ids,
    depth: u32,
    errors: Vec<BuildError>,
}

/// Returns the expression and the offsets of all expressions, and what is wrong with it.
pub(super) fn build(
    text: &str,
    tree: &Tree,
    root: Item,
    options: Options,
) -> (Option<(Expr, Vec<u32>)>, Vec<BuildError>) {
    let mut builder = Builder { text, tree, options, ids: Ids::new(), depth: 0, errors: Vec::new() };
    let Item::Node(root) = root else { return (None, builder.errors) };
    match builder.visit(Some(root)) {
        Ok(expr) => (Some((expr, builder.ids.into_offsets())), builder.errors),
        Err(Stop) => (None, builder.errors),
    }
}

impl Builder<'_> {
    fn visit(&mut self, node: Option<usize>) -> Result<Expr> {
        let Some(node) = node else { return Ok(self.hidden()) };
        if self.ids.are_too_many() {
            return self.stop("expression is too large once its macros are expanded");
        }
        match self.tree.label(node) {
            Label::Expr => self.nested(|this| this.conditional(node)),
            Label::Relation | Label::Calc => self.nested(|this| this.binary(node)),
            Label::Select => self.nested(|this| this.select(node)),
            Label::MemberCall => self.nested(|this| this.member_call(node)),
            Label::Index => self.nested(|this| this.index(node)),
            Label::ConditionalOr => self.logical(node, "_||_"),
            Label::ConditionalAnd => self.logical(node, "_&&_"),
            Label::LogicalNot => self.unary(node, "!_"),
            Label::Negate => self.unary(node, "-_"),
            Label::Ident => Ok(self.ident(node)),
            Label::GlobalCall => self.global_call(node),
            Label::CreateList => self.list(node),
            Label::CreateStruct => self.map(node),
            Label::CreateMessage => self.message(node),
            Label::Int | Label::Uint | Label::Double | Label::String | Label::Bytes => Ok(self.literal(node)),
            Label::True => Ok(self.constant(node, Literal::Bool(true))),
            Label::False => Ok(self.constant(node, Literal::Bool(false))),
            Label::Null => Ok(self.constant(node, Literal::Null)),
            Label::BrokenUnary => Ok(self.unknown(node)),
            Label::Transparent | Label::Part | Label::EscapedName | Label::Broken => Ok(self.hidden()),
        }
    }

    /// Something that a syntax error hides.
    fn hidden(&mut self) -> Expr {
        hidden(self.ids.next(Place::Before))
    }

    fn stop<T>(&mut self, message: &str) -> Result<T> {
        self.errors.push(BuildError { place: Place::Unknown, message: message.to_owned() });
        Err(Stop)
    }

    fn nested(&mut self, visit: impl FnOnce(&mut Self) -> Result<Expr>) -> Result<Expr> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.stop("max recursion depth exceeded");
        }
        let expr = visit(self)?;
        self.depth -= 1;
        Ok(expr)
    }

    /// Reports an error at an offset, and gives an expression to go on with.
    fn error(&mut self, offset: u32, message: impl Into<String>) -> Expr {
        self.error_at(Place::At(offset), message.into())
    }

    fn error_at(&mut self, place: Place, message: String) -> Expr {
        let id = self.ids.next(place);
        self.errors.push(BuildError { place, message });
        hidden(id)
    }

    fn node(&self, node: usize, role: Role) -> Option<usize> {
        self.tree.node(node, role)
    }

    fn has(&self, node: usize, role: Role) -> bool {
        self.tree.token(node, role).is_some()
    }

    /// The text of a token; the offset is that of the node if the token is missing.
    fn token(&self, node: usize, role: Role) -> (&str, u32) {
        let token = self.tree.token(node, role);
        token.map_or(("", self.tree.offset(node)), |token| (token.text(self.text), token.offset))
    }

    /// The number of what stands at a token.
    fn id_at(&mut self, node: usize, role: Role) -> Id {
        self.ids.at_token(self.tree.token(node, role).map(|token| token.offset))
    }

    fn constant(&mut self, node: usize, literal: Literal) -> Expr {
        let id = self.ids.next(Place::At(self.tree.offset(node)));
        Expr { id, kind: Kind::Literal(literal) }
    }

    fn conditional(&mut self, node: usize) -> Result<Expr> {
        let condition = self.visit(self.node(node, Role::Operand))?;
        let id = self.id_at(node, Role::Operator);
        let if_true = self.visit(self.node(node, Role::Second))?;
        let if_false = self.visit(self.node(node, Role::Third))?;
        Ok(self.call(id, "_?_:_", None, vec![condition, if_true, if_false]))
    }

    fn logical(&mut self, node: usize, function: &str) -> Result<Expr> {
        let function: Arc<str> = function.into();
        let first = self.visit(self.node(node, Role::Operand))?;
        let mut terms = vec![first];
        let mut operators = Vec::new();
        let tree = self.tree;
        let mut operator = None;
        for (role, item) in tree.parts(node) {
            match (role, item) {
                (Role::Operator, Item::Token(token)) => operator = Some(token.offset),
                (Role::Second, Item::Node(term)) => {
                    terms.push(self.visit(Some(*term))?);
                    operators.push(self.ids.at_token(operator));
                }
                _ => {}
            }
        }
        let mut terms = terms.into_iter();
        Ok(balance(&function, &operators, &mut terms).unwrap_or(hidden(0)))
    }

    fn binary(&mut self, node: usize) -> Result<Expr> {
        let left = self.visit(self.node(node, Role::Operand))?;
        let id = self.id_at(node, Role::Operator);
        let right = self.visit(self.node(node, Role::Second))?;
        let function = match self.tree.token(node, Role::Operator).map(|token| token.kind) {
            Some(TokenKind::Equals) => "_==_",
            Some(TokenKind::NotEquals) => "_!=_",
            Some(TokenKind::In) => "@in",
            Some(TokenKind::Less) => "_<_",
            Some(TokenKind::LessEquals) => "_<=_",
            Some(TokenKind::GreaterEquals) => "_>=_",
            Some(TokenKind::Greater) => "_>_",
            Some(TokenKind::Plus) => "_+_",
            Some(TokenKind::Minus) => "_-_",
            Some(TokenKind::Star) => "_*_",
            Some(TokenKind::Slash) => "_/_",
            Some(TokenKind::Percent) => "_%_",
            _ => return Ok(self.error(self.tree.offset(node), "operator not found")),
        };
        Ok(self.call(id, function, None, vec![left, right]))
    }

    fn unary(&mut self, node: usize, function: &str) -> Result<Expr> {
        let operators = self.tree.parts(node).iter().filter(|part| part.0 == Role::Operator).count();
        let operand = self.node(node, Role::Operand);
        if operators % 2 == 0 {
            return self.visit(operand);
        }
        let id = self.id_at(node, Role::Operator);
        let operand = self.visit(operand)?;
        Ok(self.call(id, function, None, vec![operand]))
    }

    /// A name of a field, which may be in backquotes; nothing if a syntax error hides it.
    fn name(&self, node: Option<usize>) -> Option<&str> {
        let node = node?;
        let text = self.tree.token(node, Role::Name)?.text(self.text);
        match self.tree.label(node) {
            Label::EscapedName => text.strip_prefix('`')?.strip_suffix('`'),
            _ => Some(text),
        }
    }

    fn select(&mut self, node: usize) -> Result<Expr> {
        let operand = self.visit(self.node(node, Role::Operand))?;
        let name = self.node(node, Role::Name);
        let (Some(name), Some(operator)) = (name, self.tree.token(node, Role::Operator)) else {
            return Ok(self.unknown(node));
        };
        let offset = self.tree.offset(name);
        let field: Arc<str> = if let Some(field) = self.name(Some(name)) {
            field.into()
        } else {
            self.error(offset, "unsupported ident kind");
            "".into()
        };
        if !self.has(node, Role::Optional) {
            let id = self.ids.next(Place::At(operator.offset));
            return Ok(Expr {
                id,
                kind: Kind::Select { operand: Box::new(operand), field, test_only: false },
            });
        }
        if !self.options.has(Extension::OptionalTypes) {
            return Ok(self.error(operator.offset, "unsupported syntax '.?'"));
        }
        let id = self.ids.next(Place::At(offset));
        let field = Expr { id, kind: Kind::Literal(Literal::String(field)) };
        let id = self.ids.next(Place::At(operator.offset));
        Ok(Expr {
            id,
            kind: Kind::Call { function: "_?._".into(), target: None, args: vec![operand, field] },
        })
    }

    /// Something whose name a syntax error hides.
    fn unknown(&mut self, node: usize) -> Expr {
        hidden(self.ids.next(Place::At(self.tree.offset(node))))
    }

    fn member_call(&mut self, node: usize) -> Result<Expr> {
        let target = self.visit(self.node(node, Role::Operand))?;
        if !self.has(node, Role::Name) {
            return Ok(self.unknown(node));
        }
        let id = self.id_at(node, Role::Operator);
        let args = self.arguments(node)?;
        let function: Arc<str> = self.token(node, Role::Name).0.into();
        Ok(self.call(id, &function, Some(target), args))
    }

    fn index(&mut self, node: usize) -> Result<Expr> {
        let target = self.visit(self.node(node, Role::Operand))?;
        let Some(operator) = self.tree.token(node, Role::Operator) else { return Ok(self.unknown(node)) };
        let id = self.ids.next(Place::At(operator.offset));
        let index = self.visit(self.node(node, Role::Second))?;
        let function = match self.has(node, Role::Optional) {
            true if !self.options.has(Extension::OptionalTypes) => {
                return Ok(self.error(operator.offset, "unsupported syntax '[?'"));
            }
            true => "_[?_]",
            false => "_[_]",
        };
        Ok(self.call(id, function, None, vec![target, index]))
    }

    /// A name with its leading dot; the error if it is reserved.
    fn free_name(&mut self, node: usize) -> std::result::Result<(Arc<str>, u32), Expr> {
        if !self.has(node, Role::Name) {
            return Err(self.unknown(node));
        }
        let (name, offset) = self.token(node, Role::Name);
        if RESERVED.contains(&name) {
            let message = format!("reserved identifier: {name}");
            return Err(self.error(self.tree.offset(node), message));
        }
        let name = if self.has(node, Role::LeadingDot) { format!(".{name}").into() } else { name.into() };
        Ok((name, offset))
    }

    fn ident(&mut self, node: usize) -> Expr {
        match self.free_name(node) {
            Ok((name, offset)) => Expr { id: self.ids.next(Place::At(offset)), kind: Kind::Ident(name) },
            Err(error) => error,
        }
    }

    fn global_call(&mut self, node: usize) -> Result<Expr> {
        let (function, _) = match self.free_name(node) {
            Ok(name) => name,
            Err(error) => return Ok(error),
        };
        let id = self.id_at(node, Role::Operator);
        let args = self.arguments(node)?;
        Ok(self.call(id, &function, None, args))
    }

    fn call(&mut self, id: Id, function: &str, target: Option<Expr>, args: Vec<Expr>) -> Expr {
        match macros::expand(&mut self.ids, self.options, id, function, target, args) {
            Ok(Ok(expr)) => {
                self.ids.delete(id);
                expr
            }
            Ok(Err(misuse)) => {
                let place = self.ids.place(misuse.id);
                self.ids.delete(id);
                let error = self.ids.next(match place {
                    Place::At(_) => place,
                    Place::Unknown | Place::Before => Place::Before,
                });
                self.errors.push(BuildError { place, message: misuse.message });
                hidden(error)
            }
            Err((target, args)) => {
                let target = target.map(Box::new);
                Expr { id, kind: Kind::Call { function: function.into(), target, args } }
            }
        }
    }

    fn arguments(&mut self, node: usize) -> Result<Vec<Expr>> {
        let mut args = Vec::new();
        if let Some(list) = self.node(node, Role::List) {
            let tree = self.tree;
            for (_, item) in tree.parts(list) {
                if let Item::Node(arg) = item {
                    args.push(self.visit(Some(*arg))?);
                }
            }
        }
        Ok(args)
    }

    fn list(&mut self, node: usize) -> Result<Expr> {
        let id = self.id_at(node, Role::Operator);
        let mut elements = Vec::new();
        let mut optional = Vec::new();
        if let Some(list) = self.node(node, Role::List) {
            let tree = self.tree;
            for (_, item) in tree.parts(list) {
                let Item::Node(element) = *item else { continue };
                let expr = self.visit(self.node(element, Role::Operand))?;
                if let Some(mark) = self.tree.token(element, Role::Optional) {
                    if self.options.has(Extension::OptionalTypes) {
                        optional.push(u32::try_from(elements.len()).unwrap_or(u32::MAX));
                    } else {
                        self.error(mark.offset, "unsupported syntax '?'");
                    }
                }
                elements.push(expr);
            }
        }
        Ok(Expr { id, kind: Kind::List { elements, optional } })
    }

    /// The entries of a map or a message, as far as they are whole.
    fn entries(&self, node: usize) -> Vec<(Token, usize, usize)> {
        let mut entries = Vec::new();
        let Some(list) = self.node(node, Role::List) else { return entries };
        let (mut key, mut colon) = (None, None);
        for (role, item) in self.tree.parts(list) {
            match (role, item) {
                (Role::Key, Item::Node(node)) => key = Some(*node),
                (Role::Colon, Item::Token(token)) => colon = Some(*token),
                (Role::Second, Item::Node(value)) => {
                    if let (Some(key), Some(colon)) = (key.take(), colon.take()) {
                        entries.push((colon, key, *value));
                    }
                }
                _ => {}
            }
        }
        entries
    }

    /// Whether the key of an entry makes it optional; `None`, after an error, if it may not be.
    fn optional(&mut self, key: usize) -> Option<bool> {
        let optional = self.has(key, Role::Optional);
        if optional && !self.options.has(Extension::OptionalTypes) {
            self.error(self.tree.offset(key), "unsupported syntax '?'");
            return None;
        }
        Some(optional)
    }

    fn map(&mut self, node: usize) -> Result<Expr> {
        let id = self.id_at(node, Role::Operator);
        let mut entries = Vec::new();
        for (colon, key, value) in self.entries(node) {
            let id = self.ids.next(Place::At(colon.offset));
            let Some(optional) = self.optional(key) else { continue };
            let key = self.visit(self.node(key, Role::Operand))?;
            let value = self.visit(Some(value))?;
            entries.push(Entry { id, key, value, optional });
        }
        Ok(Expr { id, kind: Kind::Map(entries) })
    }

    fn message(&mut self, node: usize) -> Result<Expr> {
        let mut type_name = if self.has(node, Role::LeadingDot) { "." } else { "" }.to_owned();
        let names = self.tree.parts(node).iter().filter(|part| part.0 == Role::Name);
        for (index, (_, item)) in names.enumerate() {
            if index > 0 {
                type_name.push('.');
            }
            if let Item::Token(token) = item {
                type_name.push_str(token.text(self.text));
            }
        }
        let id = self.id_at(node, Role::Operator);
        let mut fields = Vec::new();
        for (colon, key, value) in self.entries(node) {
            let id = self.ids.next(Place::At(colon.offset));
            let Some(optional) = self.optional(key) else { continue };
            let Some(name) = self.name(self.node(key, Role::Name)).map(Arc::from) else {
                let list = self.node(node, Role::List).unwrap_or(node);
                self.error(self.tree.offset(list), "unsupported ident kind");
                continue;
            };
            let value = self.visit(Some(value))?;
            fields.push(Entry { id, key: name, value, optional });
        }
        Ok(Expr { id, kind: Kind::Struct { type_name: type_name.into(), fields } })
    }

    fn literal(&mut self, node: usize) -> Expr {
        let (text, _) = self.token(node, Role::Name);
        let sign = if self.has(node, Role::Sign) { "-" } else { "" };
        let read = match self.tree.label(node) {
            Label::Int => read_int(sign, text).map(Literal::Int).ok_or("invalid int literal"),
            Label::Uint => read_uint(text).map(Literal::Uint).ok_or("invalid uint literal"),
            Label::Double => read_double(sign, text).map(Literal::Double).ok_or("invalid double literal"),
            Label::Bytes => {
                let quoted = text.get(1..).unwrap_or_default();
                unescape(quoted, true).map(|bytes| Literal::Bytes(bytes.into()))
            }
            _ => unescape(text, false)
                .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "unable to unescape string"))
                .map(|string| Literal::String(string.into())),
        };
        match read {
            Ok(literal) => self.constant(node, literal),
            Err(message) => self.error(self.tree.offset(node), message),
        }
    }
}

/// A balanced tree of a chain of operators, which are numbered one less than their terms.
fn balance(function: &Arc<str>, operators: &[Id], terms: &mut impl Iterator<Item = Expr>) -> Option<Expr> {
    let Some((before, [id, after @ ..])) = operators.split_at_checked(operators.len() / 2) else {
        return terms.next();
    };
    let left = balance(function, before, terms)?;
    let right = balance(function, after, terms)?;
    Some(Expr {
        id: *id,
        kind: Kind::Call { function: Arc::clone(function), target: None, args: vec![left, right] },
    })
}

fn read_int(sign: &str, text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(&format!("{sign}{digits}"), 16).ok(),
        None => format!("{sign}{text}").parse().ok(),
    }
}

fn read_uint(text: &str) -> Option<u64> {
    let text = text.strip_suffix(['u', 'U'])?;
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn read_double(sign: &str, text: &str) -> Option<f64> {
    format!("{sign}{text}").parse().ok().filter(|value: &f64| value.is_finite())
}
