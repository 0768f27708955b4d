//! Macros: calls that stand for other expressions.

use std::sync::Arc;

use super::{
    ast::{Comprehension, Entry, Expr, Id, Kind, Literal},
    ids::{Ids, hidden},
    options::{Extension, Options},
};

/// The variable in which a loop collects its result: no name that a person can write.
const ACCUMULATOR: &str = "@result";
/// Its name in the past, which is refused too.
const FORMER_ACCUMULATOR: &str = "__result__";
/// The variable of a loop over nothing.
const UNUSED: &str = "#unused";

/// How many expressions the blocks may have together: they are nested in each other.
const BLOCK_MAX: usize = 64;

/// Why a macro does not expand, and the expression that is wrong.
pub(super) struct Misuse {
    pub(super) id: Id,
    pub(super) message: String,
}

type Result<T> = std::result::Result<T, Misuse>;

fn misuse<T>(expr: &Expr, message: &str) -> Result<T> {
    Err(Misuse { id: expr.id, message: message.to_owned() })
}

#[derive(Clone, Copy)]
enum Quantifier {
    All,
    Exists,
    ExistsOne,
}

#[derive(Clone, Copy)]
enum Macro {
    Has,
    Quantifier(Quantifier),
    Map,
    Filter,
    OptMap,
    OptFlatMap,
    Quantifier2(Quantifier),
    TransformList,
    TransformMap,
    TransformMapEntry,
    SortBy,
    Bind,
    /// `math.least` and `math.greatest`, and the function that each stands for.
    Extreme(&'static str),
    Block,
    BlockVariable(&'static str),
}

/// Whether a call is to a macro.
fn find(function: &str, target: Option<&Expr>, args: usize, options: Options) -> Option<Macro> {
    use Quantifier::{All, Exists, ExistsOne};
    let (found, extension) = match (function, target, args) {
        ("has", None, 1) => (Macro::Has, None),
        ("all", Some(_), 2) => (Macro::Quantifier(All), None),
        ("exists", Some(_), 2) => (Macro::Quantifier(Exists), None),
        ("exists_one", Some(_), 2) => (Macro::Quantifier(ExistsOne), None),
        ("map", Some(_), 2 | 3) => (Macro::Map, None),
        ("filter", Some(_), 2) => (Macro::Filter, None),
        ("optMap", Some(_), 2) => (Macro::OptMap, Some(Extension::OptionalTypes)),
        ("optFlatMap", Some(_), 2) => (Macro::OptFlatMap, Some(Extension::OptionalTypes)),
        ("all", Some(_), 3) => (Macro::Quantifier2(All), Some(Extension::TwoVariables)),
        ("exists", Some(_), 3) => (Macro::Quantifier2(Exists), Some(Extension::TwoVariables)),
        ("exists_one" | "existsOne", Some(_), 3) => {
            (Macro::Quantifier2(ExistsOne), Some(Extension::TwoVariables))
        }
        ("transformList", Some(_), 3 | 4) => (Macro::TransformList, Some(Extension::TwoVariables)),
        ("transformMap", Some(_), 3 | 4) => (Macro::TransformMap, Some(Extension::TwoVariables)),
        ("transformMapEntry", Some(_), 3 | 4) => (Macro::TransformMapEntry, Some(Extension::TwoVariables)),
        ("sortBy", Some(_), 2) => (Macro::SortBy, Some(Extension::SortBy)),
        (_, Some(Expr { kind: Kind::Ident(namespace), .. }), _) => match (&**namespace, function, args) {
            ("cel", "bind", 3) => (Macro::Bind, Some(Extension::Bind)),
            ("cel", "block", 2) => (Macro::Block, Some(Extension::Block)),
            ("cel", "index", 1) => (Macro::BlockVariable("index"), Some(Extension::Block)),
            ("cel", "iterVar", 2) => (Macro::BlockVariable("it"), Some(Extension::Block)),
            ("cel", "accuVar", 2) => (Macro::BlockVariable("ac"), Some(Extension::Block)),
            ("math", "least", _) => (Macro::Extreme("math.@min"), Some(Extension::Math)),
            ("math", "greatest", _) => (Macro::Extreme("math.@max"), Some(Extension::Math)),
            _ => return None,
        },
        _ => return None,
    };
    extension.is_none_or(|extension| options.has(extension)).then_some(found)
}

/// Expands a call if it is to a macro: `Err` if it is not.
pub(super) fn expand(
    ids: &mut Ids,
    options: Options,
    call: Id,
    function: &str,
    target: Option<Expr>,
    args: Vec<Expr>,
) -> std::result::Result<Result<Expr>, (Option<Expr>, Vec<Expr>)> {
    let found = find(function, target.as_ref(), args.len(), options);
    let Some(found) = found.filter(|_| !options.has(Extension::NoMacros)) else {
        return Err((target, args));
    };
    let mut expander = Expander { ids, call };
    Ok(match target {
        None => expander.has(args),
        Some(target) => expander.expand(found, target, args),
    })
}

/// The arguments of a macro, of which it takes one after another.
struct Arguments(std::vec::IntoIter<Expr>);

impl Arguments {
    /// `find` has counted them.
    fn next(&mut self) -> Expr {
        self.0.next().unwrap_or(hidden(0))
    }

    /// A filter, if it is there, and the last argument.
    fn filter_and_last(&mut self) -> (Option<Expr>, Expr) {
        let first = self.next();
        match self.0.next() {
            Some(last) => (Some(first), last),
            None => (None, first),
        }
    }
}

/// Makes expressions that stand where the macro is. Numbers are given in the order of the calls.
struct Expander<'a> {
    ids: &'a mut Ids,
    call: Id,
}

impl Expander<'_> {
    fn expand(&mut self, found: Macro, target: Expr, args: Vec<Expr>) -> Result<Expr> {
        let mut args = Arguments(args.into_iter());
        match found {
            Macro::Has => self.has(args.0.collect()),
            Macro::Quantifier(quantifier) => {
                let variable = args.next();
                let name = one_variable(&variable, "argument must be a simple name")?;
                Ok(self.quantifier(quantifier, target, name, None, args.next()))
            }
            Macro::Quantifier2(quantifier) => {
                let (first, second) = two_variables(&args.next(), &args.next())?;
                Ok(self.quantifier(quantifier, target, first, Some(second), args.next()))
            }
            Macro::Map => self.map(target, args),
            Macro::Filter => {
                let variable = args.next();
                let name = one_variable(&variable, "argument is not an identifier")?;
                Ok(self.collect(target, (name, None), Some(args.next()), variable))
            }
            Macro::TransformList => {
                let (first, second) = two_variables(&args.next(), &args.next())?;
                let (filter, transform) = args.filter_and_last();
                let init = |_: &mut Self| None;
                Ok(self.transform_list(target, (first, Some(second)), filter, transform, init))
            }
            Macro::TransformMap | Macro::TransformMapEntry => {
                let (first, second) = two_variables(&args.next(), &args.next())?;
                let (filter, transform) = args.filter_and_last();
                let mut inserted = vec![self.accumulator()];
                if let Macro::TransformMap = found {
                    inserted.push(self.ident(&first));
                }
                inserted.push(transform);
                let step = self.call("cel.@mapInsert", inserted);
                let step = self.filtered(filter, step);
                let init = self.expr(Kind::Map(Vec::new()));
                let condition = self.bool(true);
                let result = self.accumulator();
                Ok(self.comprehension(
                    target,
                    (first, Some(second)),
                    ACCUMULATOR,
                    [init, condition, step, result],
                ))
            }
            Macro::OptMap => self.opt_map("optMap", target, args),
            Macro::OptFlatMap => self.opt_map("optFlatMap", target, args),
            Macro::SortBy => self.sort_by(target, args),
            Macro::Bind => {
                let variable = args.next();
                let Kind::Ident(name) = &variable.kind else {
                    return misuse(&variable, "cel.bind() variable names must be simple identifiers");
                };
                let (value, result) = (args.next(), args.next());
                Ok(self.bind(name, value, result))
            }
            Macro::Extreme(function) => self.extreme(function, &target, args.0.collect()),
            Macro::Block => {
                let (block, result) = (args.next(), args.next());
                self.block(block, result)
            }
            Macro::BlockVariable(kind) => {
                let mut name = format!("@{kind}");
                for arg in args.0 {
                    match arg.kind {
                        Kind::Literal(Literal::Int(number)) if number >= 0 => {
                            name.push_str(&format!(":{number}"));
                        }
                        _ => return misuse(&arg, "a variable of a block has a number that is a constant"),
                    }
                }
                Ok(self.ident(&name))
            }
        }
    }

    fn has(&mut self, args: Vec<Expr>) -> Result<Expr> {
        let mut args = Arguments(args.into_iter());
        let arg = args.next();
        match arg.kind {
            Kind::Select { operand, field, .. } => {
                Ok(self.expr(Kind::Select { operand, field, test_only: true }))
            }
            _ => misuse(&arg, "invalid argument to has() macro"),
        }
    }

    fn quantifier(
        &mut self,
        quantifier: Quantifier,
        target: Expr,
        first: Arc<str>,
        second: Option<Arc<str>>,
        predicate: Expr,
    ) -> Expr {
        let parts = match quantifier {
            Quantifier::All => {
                let init = self.bool(true);
                let accumulator = self.accumulator();
                let condition = self.call("@not_strictly_false", vec![accumulator]);
                let accumulator = self.accumulator();
                let step = self.call("_&&_", vec![accumulator, predicate]);
                [init, condition, step, self.accumulator()]
            }
            Quantifier::Exists => {
                let init = self.bool(false);
                let accumulator = self.accumulator();
                let not = self.call("!_", vec![accumulator]);
                let condition = self.call("@not_strictly_false", vec![not]);
                let accumulator = self.accumulator();
                let step = self.call("_||_", vec![accumulator, predicate]);
                [init, condition, step, self.accumulator()]
            }
            Quantifier::ExistsOne => {
                let init = self.int(0);
                let condition = self.bool(true);
                let (accumulator, one) = (self.accumulator(), self.int(1));
                let more = self.call("_+_", vec![accumulator, one]);
                let same = self.accumulator();
                let step = self.call("_?_:_", vec![predicate, more, same]);
                let (accumulator, one) = (self.accumulator(), self.int(1));
                let result = self.call("_==_", vec![accumulator, one]);
                [init, condition, step, result]
            }
        };
        self.comprehension(target, (first, second), ACCUMULATOR, parts)
    }

    fn map(&mut self, target: Expr, mut args: Arguments) -> Result<Expr> {
        let variable = args.next();
        let name = one_variable(&variable, "argument is not an identifier")?;
        let (filter, transform) = args.filter_and_last();
        Ok(self.collect(target, (name, None), filter, transform))
    }

    /// A loop that makes a list, with one variable.
    fn collect(
        &mut self,
        target: Expr,
        variables: (Arc<str>, Option<Arc<str>>),
        filter: Option<Expr>,
        element: Expr,
    ) -> Expr {
        let init = |this: &mut Self| Some([this.list(Vec::new()), this.bool(true)]);
        self.transform_list(target, variables, filter, element, init)
    }

    /// A loop that makes a list: `before` gives what cel-go numbers before the step of the loop.
    fn transform_list(
        &mut self,
        target: Expr,
        variables: (Arc<str>, Option<Arc<str>>),
        filter: Option<Expr>,
        element: Expr,
        before: impl FnOnce(&mut Self) -> Option<[Expr; 2]>,
    ) -> Expr {
        let before = before(self);
        let accumulator = self.accumulator();
        let element = self.list(vec![element]);
        let step = self.call("_+_", vec![accumulator, element]);
        let step = self.filtered(filter, step);
        let [init, condition] = before.unwrap_or_else(|| [self.list(Vec::new()), self.bool(true)]);
        let result = self.accumulator();
        self.comprehension(target, variables, ACCUMULATOR, [init, condition, step, result])
    }

    fn filtered(&mut self, filter: Option<Expr>, step: Expr) -> Expr {
        match filter {
            None => step,
            Some(filter) => {
                let same = self.accumulator();
                self.call("_?_:_", vec![filter, step, same])
            }
        }
    }

    fn opt_map(&mut self, name: &str, target: Expr, mut args: Arguments) -> Result<Expr> {
        let variable = args.next();
        let Kind::Ident(variable) = &variable.kind else {
            return misuse(&variable, &format!("{name}() variable name must be a simple identifier"));
        };
        let id = self.ids.like(self.call);
        let range = self.list(Vec::new());
        let copy = self.copy(&target);
        let has_value = method(id, "hasValue", target, Vec::new());
        let value = self.method("value", copy, Vec::new());
        let condition = self.bool(false);
        let step = self.ident(variable);
        let parts = [value, condition, step, args.next()];
        let mut mapped = self.comprehension(range, (UNUSED.into(), None), variable, parts);
        if name == "optMap" {
            mapped = self.call("optional.of", vec![mapped]);
        }
        let none = self.call("optional.none", Vec::new());
        Ok(self.call("_?_:_", vec![has_value, mapped, none]))
    }

    fn bind(&mut self, name: &Arc<str>, value: Expr, result: Expr) -> Expr {
        let range = self.list(Vec::new());
        let condition = self.bool(false);
        let step = self.ident(name);
        self.comprehension(range, (UNUSED.into(), None), name, [value, condition, step, result])
    }

    /// The least or the greatest of several numbers.
    fn extreme(&mut self, function: &str, target: &Expr, mut args: Vec<Expr>) -> Result<Expr> {
        let name = if function == "math.@min" { "math.least()" } else { "math.greatest()" };
        match args.as_slice() {
            [] => return misuse(target, &format!("{name} requires at least one argument")),
            [Expr { kind: Kind::List { elements, .. }, .. }]
                if !elements.is_empty() && elements.iter().all(may_be_number) => {}
            [arg] if !may_be_number(arg) => {
                return misuse(arg, &format!("{name} invalid single argument value"));
            }
            args => {
                if let Some(arg) = args.iter().find(|arg| !may_be_number(arg)) {
                    return misuse(arg, &format!("{name} simple literal arguments must be numeric"));
                }
            }
        }
        if args.len() > 2 {
            args = vec![self.list(args)];
        }
        Ok(self.call(function, args))
    }

    /// A result with expressions that it and each other refer to by their numbers.
    fn block(&mut self, block: Expr, result: Expr) -> Result<Expr> {
        let Kind::List { elements, .. } = block.kind else {
            return misuse(&block, "cel.block requires the first arg to be a list literal");
        };
        if self.ids.count_block(elements.len()) > BLOCK_MAX {
            let message = format!("more than {BLOCK_MAX} expressions in blocks");
            return Err(Misuse { id: block.id, message });
        }
        let bound = elements.into_iter().enumerate().rev();
        Ok(bound.fold(result, |result, (index, value)| {
            self.bind(&format!("@index:{index}").into(), value, result)
        }))
    }

    fn sort_by(&mut self, target: Expr, args: Arguments) -> Result<Expr> {
        const INPUT: &str = "@__sortBy_input__";
        let step = self.ident(INPUT);
        match target.kind {
            Kind::List { .. }
            | Kind::Select { .. }
            | Kind::Ident(_)
            | Kind::Comprehension(_)
            | Kind::Call { .. } => {}
            _ => {
                let message = "sortBy can only be applied to a list, identifier, comprehension, call or select expression";
                return misuse(&target, message);
            }
        }
        let input = self.ident(INPUT);
        let keys = self.map(input, args)?;
        let input = self.ident(INPUT);
        let result = self.method("@sortByAssociatedKeys", input, vec![keys]);
        let range = self.list(Vec::new());
        let condition = self.bool(false);
        Ok(self.comprehension(range, (UNUSED.into(), None), INPUT, [target, condition, step, result]))
    }

    fn expr(&mut self, kind: Kind) -> Expr {
        Expr { id: self.ids.like(self.call), kind }
    }

    fn ident(&mut self, name: &str) -> Expr {
        self.expr(Kind::Ident(name.into()))
    }

    fn accumulator(&mut self) -> Expr {
        self.ident(ACCUMULATOR)
    }

    fn bool(&mut self, value: bool) -> Expr {
        self.expr(Kind::Literal(Literal::Bool(value)))
    }

    fn int(&mut self, value: i64) -> Expr {
        self.expr(Kind::Literal(Literal::Int(value)))
    }

    fn list(&mut self, elements: Vec<Expr>) -> Expr {
        self.expr(Kind::List { elements, optional: Vec::new() })
    }

    fn call(&mut self, function: &str, args: Vec<Expr>) -> Expr {
        self.expr(Kind::Call { function: function.into(), target: None, args })
    }

    fn method(&mut self, function: &str, target: Expr, args: Vec<Expr>) -> Expr {
        method(self.ids.like(self.call), function, target, args)
    }

    fn comprehension(
        &mut self,
        iter_range: Expr,
        variables: (Arc<str>, Option<Arc<str>>),
        accu_var: &str,
        parts: [Expr; 4],
    ) -> Expr {
        let [accu_init, loop_condition, loop_step, result] = parts;
        let (iter_var, iter_var2) = variables;
        self.expr(Kind::Comprehension(Box::new(Comprehension {
            iter_range,
            iter_var,
            iter_var2,
            accu_var: accu_var.into(),
            accu_init,
            loop_condition,
            loop_step,
            result,
        })))
    }

    /// A copy in which everything has a number of its own, at its place.
    fn copy(&mut self, expr: &Expr) -> Expr {
        let id = self.ids.next(self.ids.place(expr.id));
        if self.ids.are_too_many() {
            return hidden(id);
        }
        let kind = match &expr.kind {
            Kind::Literal(_) | Kind::Ident(_) => expr.kind.clone(),
            Kind::Select { operand, field, test_only } => {
                let operand = Box::new(self.copy(operand));
                Kind::Select { operand, field: Arc::clone(field), test_only: *test_only }
            }
            Kind::Call { function, target, args } => {
                let args = args.iter().map(|arg| self.copy(arg)).collect();
                let target = target.as_ref().map(|target| Box::new(self.copy(target)));
                Kind::Call { function: Arc::clone(function), target, args }
            }
            Kind::List { elements, optional } => {
                let elements = elements.iter().map(|element| self.copy(element)).collect();
                Kind::List { elements, optional: optional.clone() }
            }
            Kind::Map(entries) => {
                let copy = |Entry { key, value, optional, .. }: &Entry<Expr>| {
                    let id = self.ids.like(self.call);
                    let key = self.copy(key);
                    Entry { id, key, value: self.copy(value), optional: *optional }
                };
                Kind::Map(entries.iter().map(copy).collect())
            }
            Kind::Struct { type_name, fields } => {
                let copy = |Entry { key, value, optional, .. }: &Entry<Arc<str>>| {
                    let id = self.ids.like(self.call);
                    Entry { id, key: Arc::clone(key), value: self.copy(value), optional: *optional }
                };
                Kind::Struct { type_name: Arc::clone(type_name), fields: fields.iter().map(copy).collect() }
            }
            Kind::Comprehension(comprehension) => Kind::Comprehension(Box::new(Comprehension {
                iter_range: self.copy(&comprehension.iter_range),
                iter_var: Arc::clone(&comprehension.iter_var),
                iter_var2: comprehension.iter_var2.clone(),
                accu_var: Arc::clone(&comprehension.accu_var),
                accu_init: self.copy(&comprehension.accu_init),
                loop_condition: self.copy(&comprehension.loop_condition),
                loop_step: self.copy(&comprehension.loop_step),
                result: self.copy(&comprehension.result),
            })),
        };
        Expr { id, kind }
    }
}

fn method(id: Id, function: &str, target: Expr, args: Vec<Expr>) -> Expr {
    Expr { id, kind: Kind::Call { function: function.into(), target: Some(Box::new(target)), args } }
}

fn is_accumulator(name: &str) -> bool {
    name == ACCUMULATOR || name == FORMER_ACCUMULATOR
}

/// Whether an expression is not obviously something else than a number.
fn may_be_number(arg: &Expr) -> bool {
    match &arg.kind {
        Kind::Literal(literal) => {
            matches!(literal, Literal::Int(_) | Literal::Uint(_) | Literal::Double(_))
        }
        Kind::List { .. } | Kind::Map(_) | Kind::Struct { .. } => false,
        _ => true,
    }
}

const OVERWRITES: &str = "iteration variable overwrites accumulator variable";

fn one_variable(arg: &Expr, not_a_name: &str) -> Result<Arc<str>> {
    match &arg.kind {
        Kind::Ident(name) if is_accumulator(name) => misuse(arg, OVERWRITES),
        Kind::Ident(name) => Ok(Arc::clone(name)),
        _ => misuse(arg, not_a_name),
    }
}

fn two_variables(first: &Expr, second: &Expr) -> Result<(Arc<str>, Arc<str>)> {
    const NOT_A_NAME: &str = "argument must be a simple name";
    let Kind::Ident(first_name) = &first.kind else { return misuse(first, NOT_A_NAME) };
    let Kind::Ident(second_name) = &second.kind else { return misuse(second, NOT_A_NAME) };
    if first_name == second_name {
        return misuse(second, &format!("duplicate variable name: {first_name}"));
    }
    for (arg, name) in [(first, first_name), (second, second_name)] {
        if is_accumulator(name) {
            return misuse(arg, OVERWRITES);
        }
    }
    Ok((Arc::clone(first_name), Arc::clone(second_name)))
}
