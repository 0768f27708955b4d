//! Finds the type of each expression of a tree. Trees may be deep, so what is to be done next is on a stack of its own.

use std::{collections::HashMap, sync::Arc};

use super::{
    builtin,
    checked::{Reference, issue},
    environment::{Environment, Name},
    substitution::{Substitution, is_dyn, is_dyn_or_error, optional_value},
};
use crate::{
    syntax::{Ast, Comprehension, Entry, Expr, Id, Issue, Kind, Literal},
    types::{Function, Overload, Type},
};

/// Types with more types in them than this are refused; those of real expressions have a few dozen.
const TYPE_MAX: usize = 10_000;
/// How many types may be visited, at the least and for each expression. cel-go visits some hundred for a call.
const WORK_MIN: usize = 1_000_000;
const WORK_PER_EXPRESSION: usize = 2_000;

/// What is known about a tree after its check.
pub(super) struct Checker<'a> {
    ast: &'a Ast,
    environment: &'a Environment,
    substitution: Substitution,
    /// The variables of the comprehensions around the expression, the innermost last.
    locals: Vec<(Arc<str>, Type)>,
    steps: Vec<Step<'a>>,
    too_complex: bool,
    pub(super) types: HashMap<Id, Type>,
    pub(super) references: HashMap<Id, Reference>,
    /// The full names of the functions that calls refer to, without those of methods.
    pub(super) functions: HashMap<Id, Arc<str>>,
    pub(super) issues: Vec<Issue>,
}

/// What is to be done.
enum Step<'a> {
    Check(&'a Expr),
    /// The operand of a selection is checked.
    Selected {
        id: Id,
        operand: Id,
        field: &'a str,
        how: Selection,
    },
    /// The arguments of a call are checked.
    Called {
        id: Id,
        function: &'a str,
        target: Option<&'a Expr>,
        args: &'a [Expr],
    },
    /// The target of a method is checked.
    Targeted {
        id: Id,
        function: &'a str,
        target: Id,
        args: &'a [Expr],
    },
    /// The elements before `next` are checked, all but the last also joined.
    Elements {
        id: Id,
        elements: &'a [Expr],
        optional: &'a [u32],
        next: usize,
        joined: Option<Type>,
    },
    /// The same for entries, whose keys and values count as two.
    Entries {
        id: Id,
        entries: &'a [Entry<Expr>],
        next: usize,
        keys: Option<Type>,
        values: Option<Type>,
    },
    Fields {
        message: Arc<str>,
        fields: &'a [Entry<Arc<str>>],
        next: usize,
    },
    Loop {
        id: Id,
        of: &'a Comprehension,
        stage: Stage,
    },
}

#[derive(Clone, Copy, PartialEq)]
enum Selection {
    Plain,
    /// `has(operand.field)`
    Test,
    /// `operand.?field`
    Optional,
}

/// Which part of a comprehension is checked.
enum Stage {
    Init,
    Condition,
    Step,
    Result,
}

impl<'a> Checker<'a> {
    pub(super) fn new(ast: &'a Ast, environment: &'a Environment) -> Self {
        Self {
            ast,
            environment,
            substitution: Substitution::new(WORK_MIN + ast.offsets.len().saturating_mul(WORK_PER_EXPRESSION)),
            locals: Vec::new(),
            steps: Vec::new(),
            too_complex: false,
            types: HashMap::with_capacity(ast.offsets.len()),
            references: HashMap::new(),
            functions: HashMap::new(),
            issues: Vec::new(),
        }
    }

    pub(super) fn run(&mut self) {
        self.steps.push(Step::Check(&self.ast.root));
        while let Some(step) = self.steps.pop() {
            self.step(step);
            if self.too_complex || self.substitution.exhausted() {
                return self.give_up();
            }
        }
        for of in self.types.values_mut() {
            *of = self.substitution.finish(of);
        }
        if self.substitution.exhausted() {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        self.issues.clear();
        self.report(self.ast.root.id, "the types of the expression are too complex".to_owned());
    }

    fn step(&mut self, step: Step<'a>) {
        match step {
            Step::Check(expr) => self.check(expr),
            Step::Selected { id, operand, field, how } => self.selected(id, operand, field, how),
            Step::Called { id, function, target, args } => self.called(id, function, target, args),
            Step::Targeted { id, function, target, args } => match self.environment.function(function) {
                Some(declared) => self.resolve(id, declared, Some(target), args),
                None => self.undeclared(id, function),
            },
            Step::Elements { id, elements, optional, next, joined } => {
                self.elements(id, elements, optional, next, joined);
            }
            Step::Entries { id, entries, next, keys, values } => {
                self.entries(id, entries, next, keys, values);
            }
            Step::Fields { message, fields, next } => self.fields(message, fields, next),
            Step::Loop { id, of, stage } => self.comprehension(id, of, &stage),
        }
    }

    fn check(&mut self, expr: &'a Expr) {
        let id = expr.id;
        match &expr.kind {
            Kind::Literal(literal) => self.set_type(id, type_of(literal)),
            Kind::Ident(name) => match self.simple_name(name) {
                Some(name) => self.refer(id, name),
                None => self.undeclared(id, name),
            },
            Kind::Select { operand, field, test_only } => match self.qualified_name(expr) {
                Some(name) => self.refer(id, name),
                None => {
                    let how = if *test_only { Selection::Test } else { Selection::Plain };
                    self.steps.push(Step::Selected { id, operand: operand.id, field, how });
                    self.steps.push(Step::Check(operand));
                }
            },
            Kind::Call { function, target, args } => match (&**function, args.as_slice()) {
                ("_?._", [operand, Expr { kind: Kind::Literal(Literal::String(field)), .. }]) => {
                    self.steps.push(Step::Selected {
                        id,
                        operand: operand.id,
                        field,
                        how: Selection::Optional,
                    });
                    self.steps.push(Step::Check(operand));
                }
                _ => {
                    self.steps.push(Step::Called { id, function, target: target.as_deref(), args });
                    self.steps.extend(args.iter().rev().map(Step::Check));
                }
            },
            Kind::List { elements, optional } => self.elements(id, elements, optional, 0, None),
            Kind::Map(entries) => self.entries(id, entries, 0, None, None),
            Kind::Struct { type_name, fields } => self.message(id, type_name, fields),
            Kind::Comprehension(of) => {
                self.steps.push(Step::Loop { id, of, stage: Stage::Init });
                self.steps.push(Step::Check(&of.accu_init));
                self.steps.push(Step::Check(&of.iter_range));
            }
        }
    }

    // Names.

    fn local(&self, name: &str) -> Option<&(Arc<str>, Type)> {
        let name = name.strip_prefix('.').unwrap_or(name);
        self.locals.iter().rev().find(|(local, _)| &**local == name)
    }

    fn simple_name(&self, name: &str) -> Option<Name> {
        let local = self.local(name);
        match local {
            Some((local, declared)) if !name_is_absolute(name) => {
                Some(Name { name: local.clone(), declared: declared.clone(), value: None })
            }
            _ => self.global_name(name, local.is_some()),
        }
    }

    /// A name outside of comprehensions. It keeps its dot where a variable of a comprehension has the same name.
    fn global_name(&self, name: &str, shadowed: bool) -> Option<Name> {
        let mut found = self.environment.global(name)?;
        if shadowed {
            found.name = format!(".{}", found.name).into();
        }
        Some(found)
    }

    /// What a selection of names refers to, such as `google.protobuf.Timestamp`, if it is not a selection of a field.
    fn qualified_name(&self, expr: &Expr) -> Option<Name> {
        let (first, name) = qualified(expr)?;
        let local = self.local(first);
        if local.is_some() && !name_is_absolute(first) {
            return None;
        }
        self.global_name(&name, local.is_some())
    }

    fn refer(&mut self, id: Id, name: Name) {
        self.set_type(id, name.declared);
        self.references.insert(id, Reference::Name { name: name.name, value: name.value });
    }

    // Fields.

    fn selected(&mut self, id: Id, operand: Id, field: &str, how: Selection) {
        let operand = self.substitution.apply(&self.type_of(operand));
        let value = optional_value(&operand);
        let target = value.unwrap_or(&operand);
        let of = match target {
            Type::Map(entry) => entry.1.clone(),
            Type::Object(name) => self.field(id, name, field).unwrap_or(Type::Error),
            Type::Param(_) => {
                self.substitution.assignable(&Type::Dyn, target);
                Type::Dyn
            }
            _ => {
                if !is_dyn_or_error(target) {
                    self.report(id, format!("type '{target}' does not support field selection"));
                }
                Type::Dyn
            }
        };
        let of = if value.is_some() || how == Selection::Optional { Type::optional(of) } else { of };
        let of = if how == Selection::Test { Type::Bool } else { of };
        self.set_type(id, self.substitution.apply(&of));
        if how == Selection::Optional {
            self.references.insert(id, Reference::Overloads(vec!["select_optional_field".into()]));
        }
    }

    fn field(&mut self, id: Id, message: &str, field: &str) -> Option<Type> {
        let of = if self.environment.provider.has_type(message) {
            self.environment.provider.field(message, field)
        } else if builtin::message(message).is_some() {
            builtin::field(message, field)
        } else {
            self.report(id, format!("unexpected failed resolution of '{message}'"));
            return None;
        };
        if of.is_none() {
            self.report(id, format!("undefined field '{field}'"));
        }
        of
    }

    // Calls.

    /// `a.b.c()` is a function if there is one of that name, else a method of `a.b`.
    fn called(&mut self, id: Id, function: &'a str, target: Option<&'a Expr>, args: &'a [Expr]) {
        let Some(target) = target else {
            return match self.environment.function(function) {
                Some(declared) => self.resolve(id, declared, None, args),
                None => self.undeclared(id, function),
            };
        };
        let namespaced =
            qualified(target).and_then(|(_, name)| self.environment.function(&format!("{name}.{function}")));
        match namespaced {
            Some(declared) => self.resolve(id, declared, None, args),
            None => {
                self.steps.push(Step::Targeted { id, function, target: target.id, args });
                self.steps.push(Step::Check(target));
            }
        }
    }

    /// Finds the overloads that fit the arguments.
    fn resolve(&mut self, id: Id, function: &'a Function, target: Option<Id>, args: &'a [Expr]) {
        if target.is_none() {
            self.functions.insert(id, function.name.clone());
        }
        let arg_types: Vec<_> =
            target.into_iter().chain(args.iter().map(|arg| arg.id)).map(|id| self.type_of(id)).collect();
        let mut fitting = Vec::new();
        let mut result = None;
        for overload in function.overloads.iter().filter(|overload| overload.member == target.is_some()) {
            if matches!(&*function.name, "_&&_" | "_||_") {
                return self.resolve_logical(id, overload, args, &arg_types);
            }
            let (parameters, of) = self.substitution.instantiate(&overload.args, &overload.result);
            if !self.substitution.all_assignable(&arg_types, &parameters) {
                continue;
            }
            fitting.push(overload.id.clone());
            let of = self.substitution.apply(&of);
            result = Some(match result {
                Some(result) if !is_dyn(&result) && !self.substitution.exact(&of, &result) => Type::Dyn,
                Some(result) => result,
                None => of,
            });
        }
        match result {
            Some(result) => {
                self.set_type(id, result);
                self.references.insert(id, Reference::Overloads(fitting));
            }
            None => {
                let arg_types: Vec<_> = arg_types.iter().map(|of| self.substitution.finish(of)).collect();
                let signature = signature(&arg_types, target.is_some());
                self.report(
                    id,
                    format!("found no matching overload for '{}' applied to '{signature}'", function.name),
                );
                self.set_type(id, Type::Error);
            }
        }
    }

    /// `&&` and `||`, of which each argument is checked for itself.
    fn resolve_logical(&mut self, id: Id, overload: &Overload, args: &[Expr], arg_types: &[Type]) {
        let mut of = Type::Bool;
        for (arg, arg_type) in args.iter().zip(arg_types) {
            if !self.substitution.assignable(arg_type, &Type::Bool) {
                self.mismatch(arg.id, &Type::Bool, arg_type);
                of = Type::Error;
            }
        }
        if of == Type::Bool {
            self.references.insert(id, Reference::Overloads(vec![overload.id.clone()]));
        }
        self.set_type(id, of);
    }

    // Lists, maps and messages.

    fn elements(
        &mut self,
        id: Id,
        elements: &'a [Expr],
        optional: &'a [u32],
        next: usize,
        joined: Option<Type>,
    ) {
        let mut joined = joined;
        if let Some(last) = next.checked_sub(1) {
            let is_optional = u32::try_from(last).is_ok_and(|last| optional.binary_search(&last).is_ok());
            let of = elements.get(last).map(|element| self.entry_type(element.id, is_optional));
            joined = of.map(|of| self.join(joined, of));
        }
        if let Some(element) = elements.get(next) {
            self.steps.push(Step::Elements { id, elements, optional, next: next + 1, joined });
            self.steps.push(Step::Check(element));
        } else {
            let joined = joined.unwrap_or_else(|| self.substitution.parameter());
            self.set_type(id, Type::list(joined));
        }
    }

    fn entries(
        &mut self,
        id: Id,
        entries: &'a [Entry<Expr>],
        next: usize,
        mut keys: Option<Type>,
        mut values: Option<Type>,
    ) {
        if let Some((last, entry)) = next.checked_sub(1).and_then(|last| Some((last, entries.get(last / 2)?)))
        {
            if last % 2 == 0 {
                let of = self.type_of(entry.key.id);
                keys = Some(self.join(keys, of));
            } else {
                let of = self.entry_type(entry.value.id, entry.optional);
                values = Some(self.join(values, of));
            }
        }
        if let Some(entry) = entries.get(next / 2) {
            self.steps.push(Step::Entries { id, entries, next: next + 1, keys, values });
            self.steps.push(Step::Check(if next.is_multiple_of(2) { &entry.key } else { &entry.value }));
        } else {
            let keys = keys.unwrap_or_else(|| self.substitution.parameter());
            let values = values.unwrap_or_else(|| self.substitution.parameter());
            self.set_type(id, Type::map(keys, values));
        }
    }

    /// The type of an element, entry or field, of which an optional one contributes what the optional value has in it.
    fn entry_type(&mut self, id: Id, optional: bool) -> Type {
        let of = self.type_of(id);
        if !optional {
            return of;
        }
        if let Some(value) = optional_value(&of) {
            return value.clone();
        }
        if !is_dyn(&of) {
            self.mismatch(id, &Type::optional(of.clone()), &of);
        }
        of
    }

    /// The type of elements of both types.
    fn join(&mut self, previous: Option<Type>, current: Type) -> Type {
        match previous {
            None => current,
            Some(previous) if self.substitution.assignable(&previous, &current) => {
                self.substitution.most_general(&previous, &current).clone()
            }
            Some(_) => Type::Dyn,
        }
    }

    fn message(&mut self, id: Id, type_name: &'a str, fields: &'a [Entry<Arc<str>>]) {
        let Some((name, of)) = self.environment.global_type(type_name) else {
            return self.undeclared(id, type_name);
        };
        let (message, of) = match (builtin::message_name(&of), of) {
            (Some(message), of) => (message.into(), of),
            (None, Type::Object(object)) => (object.clone(), Type::Object(object)),
            (None, of) => {
                self.report(id, format!("'{}' is not a message type", of.name()));
                (name.clone(), Type::Error)
            }
        };
        self.references.insert(id, Reference::Name { name, value: None });
        self.set_type(id, of);
        self.fields(message, fields, 0);
    }

    fn fields(&mut self, message: Arc<str>, fields: &'a [Entry<Arc<str>>], next: usize) {
        if let Some(field) = next.checked_sub(1).and_then(|last| fields.get(last)) {
            let declared = self.field(field.id, &message, &field.key).unwrap_or(Type::Error);
            let of = self.entry_type(field.value.id, field.optional);
            if !self.substitution.assignable(&declared, &of) {
                let name = &field.key;
                self.report(
                    field.id,
                    format!("expected type of field '{name}' is '{declared}' but provided type is '{of}'"),
                );
            }
        }
        if let Some(field) = fields.get(next) {
            self.steps.push(Step::Fields { message, fields, next: next + 1 });
            self.steps.push(Step::Check(&field.value));
        }
    }

    // Comprehensions.

    fn comprehension(&mut self, id: Id, of: &'a Comprehension, stage: &Stage) {
        match stage {
            Stage::Init => {
                let (first, second) = self.loop_variables(of);
                self.locals.push((of.accu_var.clone(), self.type_of(of.accu_init.id)));
                // Of two variables with the same name the first one counts.
                if let Some(name) = &of.iter_var2 {
                    self.locals.push((name.clone(), second));
                }
                self.locals.push((of.iter_var.clone(), first));
                self.steps.push(Step::Loop { id, of, stage: Stage::Condition });
                self.steps.push(Step::Check(&of.loop_condition));
            }
            Stage::Condition => {
                self.expect(&of.loop_condition, &Type::Bool);
                self.steps.push(Step::Loop { id, of, stage: Stage::Step });
                self.steps.push(Step::Check(&of.loop_step));
            }
            Stage::Step => {
                self.expect(&of.loop_step, &self.type_of(of.accu_init.id));
                let variables = 1 + usize::from(of.iter_var2.is_some());
                self.locals.truncate(self.locals.len().saturating_sub(variables));
                self.steps.push(Step::Loop { id, of, stage: Stage::Result });
                self.steps.push(Step::Check(&of.result));
            }
            Stage::Result => {
                self.locals.pop();
                self.set_type(id, self.substitution.apply(&self.type_of(of.result.id)));
            }
        }
    }

    /// The types of the variables of a loop; the second one counts only if the loop has two.
    fn loop_variables(&mut self, of: &Comprehension) -> (Type, Type) {
        let range = self.substitution.apply(&self.type_of(of.iter_range.id));
        match &range {
            Type::List(element) if of.iter_var2.is_some() => (Type::Int, Type::clone(element)),
            Type::List(element) => (Type::clone(element), Type::Dyn),
            Type::Map(entry) => (entry.0.clone(), entry.1.clone()),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.substitution.assignable(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            _ => {
                self.report(
                    of.iter_range.id,
                    format!("expression of type '{range}' cannot be range of a comprehension (must be list, map, or dynamic)"),
                );
                (Type::Error, Type::Error)
            }
        }
    }

    fn expect(&mut self, expr: &Expr, expected: &Type) {
        let of = self.type_of(expr.id);
        if !self.substitution.assignable(expected, &of) {
            self.mismatch(expr.id, expected, &of);
        }
    }

    // Results.

    fn type_of(&self, id: Id) -> Type {
        self.types.get(&id).cloned().unwrap_or(Type::Error)
    }

    fn set_type(&mut self, id: Id, of: Type) {
        self.too_complex |= !self.substitution.fits(&of, TYPE_MAX);
        self.types.insert(id, of);
    }

    fn undeclared(&mut self, id: Id, name: &str) {
        let container = &self.environment.container;
        self.report(id, format!("undeclared reference to '{name}' (in container '{container}')"));
        self.set_type(id, Type::Error);
    }

    fn mismatch(&mut self, id: Id, expected: &Type, found: &Type) {
        self.report(id, format!("expected type '{expected}' but found '{found}'"));
    }

    fn report(&mut self, id: Id, message: String) {
        self.issues.push(issue(self.ast, id, message));
    }
}

fn name_is_absolute(name: &str) -> bool {
    name.starts_with('.')
}

/// The first name and the whole text of a selection of names. A name is one, too.
fn qualified(expr: &Expr) -> Option<(&str, String)> {
    let mut fields: Vec<&str> = Vec::new();
    let mut expr = expr;
    loop {
        match &expr.kind {
            Kind::Ident(first) => {
                let name = fields.iter().rev().fold(first.to_string(), |name, field| name + "." + field);
                return Some((first, name));
            }
            Kind::Select { operand, field, test_only: false } => {
                fields.push(field);
                expr = operand;
            }
            _ => return None,
        }
    }
}

fn signature(args: &[Type], member: bool) -> String {
    let args: Vec<_> = args.iter().map(Type::to_string).collect();
    match args.split_first() {
        Some((target, args)) if member => format!("{target}.({})", args.join(", ")),
        _ => format!("({})", args.join(", ")),
    }
}

fn type_of(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}
