//! `matches`, `find` and `findAll` with Go's patterns, which are compiled once and cached.
//!
//! The interpreter's own functions compile a pattern at each call, with the semantics of the `regex` crate.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use kube_cel::cel::{
    Context, ExecutionError, ResolveResult, Value as Cel,
    extractors::{Arguments, This},
};
use regex::Regex;

use crate::pattern;

/// The number of compiled patterns in the cache: those in rules recur, those from objects rarely do.
const KEPT: usize = 64;

static COMPILED: LazyLock<Mutex<HashMap<String, Arc<Regex>>>> = LazyLock::new(Mutex::default);

/// Replaces the interpreter's functions.
pub(super) fn register(context: &mut Context<'_>) {
    context.add_function("matches", matches);
    context.add_function("find", find);
    context.add_function("findAll", find_all);
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that the interpreter expects")]
fn matches(This(text): This<Arc<String>>, pattern: Arc<String>) -> ResolveResult {
    Ok(Cel::Bool(compiled("matches", &pattern)?.is_match(&text)))
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that the interpreter expects")]
fn find(This(text): This<Arc<String>>, pattern: Arc<String>) -> ResolveResult {
    let regex = compiled("find", &pattern)?;
    Ok(string(regex.find(&text).map_or("", |found| found.as_str())))
}

/// Returns at most as many matches as the second argument specifies; all if it is absent or negative.
fn find_all(This(text): This<Arc<String>>, Arguments(arguments): Arguments) -> ResolveResult {
    let (pattern, limit) = match &arguments[..] {
        [Cel::String(pattern)] => (pattern, -1),
        [Cel::String(pattern), Cel::Int(limit)] => (pattern, *limit),
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    let regex = compiled("findAll", pattern)?;
    let found = regex.find_iter(&text).take(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(Cel::List(Arc::new(found.map(|found| string(found.as_str())).collect())))
}

fn string(text: &str) -> Cel {
    Cel::String(Arc::new(text.to_owned()))
}

fn compiled(function: &str, source: &str) -> Result<Arc<Regex>, ExecutionError> {
    let kept = || COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = kept().get(source) {
        return Ok(Arc::clone(regex));
    }
    let regex = pattern::compile(source).map_err(|error| ExecutionError::function_error(function, error))?;
    let regex = Arc::new(regex);
    let mut kept = kept();
    if kept.len() >= KEPT {
        kept.clear();
    }
    kept.insert(source.to_owned(), Arc::clone(&regex));
    Ok(regex)
}
