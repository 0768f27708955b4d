use std::fmt::Write as _;

use super::{Ast, Expr, Extension, Id, Kind, Literal, Options, parse};

const KUBERNETES: Options =
    Options::STANDARD.with(Extension::OptionalTypes).with(Extension::TwoVariables).with(Extension::SortBy);

/// An expression with the numbers and offsets of all its parts, as the Go program that gave the expected values prints it.
struct Dump<'a> {
    ast: &'a Ast,
    out: String,
}

impl Dump<'_> {
    fn of(ast: &Ast) -> String {
        let mut dump = Dump { ast, out: String::new() };
        dump.expr(&ast.root);
        dump.out
    }

    fn id(&mut self, id: Id) {
        let offset = usize::try_from(id).ok().and_then(|id| self.ast.offsets.get(id)).copied();
        write!(self.out, "{id}@{}", offset.unwrap_or_default()).unwrap_or_default();
    }

    fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn expr(&mut self, expr: &Expr) {
        self.push("(");
        self.id(expr.id);
        self.push(" ");
        match &expr.kind {
            Kind::Literal(literal) => self.push(&match literal {
                Literal::Null => "null".to_owned(),
                Literal::Bool(value) => format!("bool {value}"),
                Literal::Int(value) => format!("int {value}"),
                Literal::Uint(value) => format!("uint {value}"),
                Literal::Double(value) => format!("double {:016x}", value.to_bits()),
                Literal::String(value) => {
                    format!("string {:?}", value.chars().map(u32::from).collect::<Vec<_>>())
                }
                Literal::Bytes(value) => format!("bytes {:?}", value),
            }),
            Kind::Ident(name) => self.push(&format!("ident {name}")),
            Kind::Select { operand, field, test_only } => {
                self.push(&format!("select {test_only} {field} "));
                self.expr(operand);
            }
            Kind::Call { function, target, args } => {
                self.push(&format!("call {function}"));
                if let Some(target) = target {
                    self.push(" on ");
                    self.expr(target);
                }
                for arg in args {
                    self.push(" ");
                    self.expr(arg);
                }
            }
            Kind::List { elements, optional } => {
                self.push(&format!("list {optional:?}"));
                for element in elements {
                    self.push(" ");
                    self.expr(element);
                }
            }
            Kind::Map(entries) => {
                self.push("map");
                for entry in entries {
                    self.push(" [");
                    self.id(entry.id);
                    self.push(&format!(" {} ", entry.optional));
                    self.expr(&entry.key);
                    self.expr(&entry.value);
                    self.push("]");
                }
            }
            Kind::Struct { type_name, fields } => {
                self.push(&format!("struct {type_name}"));
                for field in fields {
                    self.push(" [");
                    self.id(field.id);
                    self.push(&format!(" {} {} ", field.optional, field.key));
                    self.expr(&field.value);
                    self.push("]");
                }
            }
            Kind::Comprehension(c) => {
                let second = c.iter_var2.as_deref().unwrap_or_default();
                self.push(&format!("loop {},{second},{} ", c.iter_var, c.accu_var));
                for part in [&c.iter_range, &c.accu_init, &c.loop_condition, &c.loop_step, &c.result] {
                    self.expr(part);
                }
            }
        }
        self.push(")");
    }
}

/// The dump of an expression, or its errors as cel-go prints them.
fn outcome(text: &str, options: Options) -> String {
    match parse(text, options) {
        Ok(ast) => format!("OK {}", Dump::of(&ast)),
        Err((source, issues)) => format!("ERR {}", source.display(&issues)),
    }
}
