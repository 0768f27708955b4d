//! The libraries of functions, and which of them an expression may use.

mod authz;
mod cidr;
mod comprehensions;
mod encoders;
mod format;
mod ip;
mod jsonpatch;
mod k8s_lists;
mod lists;
mod math;
mod optional;
mod quantity;
mod regex;
mod row;
mod semver;
mod sets;
mod standard;
mod strings;
mod urls;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use row::Row;

use crate::{
    syntax::{Extension, Options},
    types::{Function, Overload},
};

pub(crate) type Functions = HashMap<Arc<str>, Function>;

/// The libraries that an environment has.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Libraries {
    /// Those of a version of Kubernetes' CEL environment, for everything but mutating policies.
    Kubernetes(Level),
    /// Those for mutating policies.
    Mutation(Level),
    /// All libraries of cel-go, for the conformance tests of cel-spec.
    Conformance,
}

/// The minor version of Kubernetes whose libraries expressions may use: the compatibility version of its CEL environment.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Level(u32);

impl Level {
    /// The oldest and the newest level that differ.
    const RANGE: (u32, u32) = (31, 37);

    /// Every library that the newest kube-apiserver has.
    #[cfg(test)]
    pub(crate) const LATEST: Self = Self(Self::RANGE.1);

    /// For expressions that a request adds or changes, at a kube-apiserver of this minor version. The server refuses functions
    /// that its predecessor does not have, so that it can be rolled back.
    pub(crate) fn of_new_expressions(minor: u32) -> Self {
        Self::clamped(minor.saturating_sub(1))
    }

    /// For expressions that are stored already, at a kube-apiserver of this minor version: it has every library.
    pub(crate) fn of_stored_expressions(minor: u32) -> Self {
        Self::clamped(minor)
    }

    fn clamped(minor: u32) -> Self {
        Self(minor.clamp(Self::RANGE.0, Self::RANGE.1))
    }

    /// In the order in which kube-apiserver adds them, which is the order of the overloads of functions that several have.
    fn tables(self) -> Vec<&'static [Row]> {
        let mut tables = vec![standard::TABLE, urls::TABLE, regex::TABLE];
        if self.0 < 37 {
            tables.push(k8s_lists::V0);
        }
        tables.extend([
            authz::TABLE,
            optional::TABLE,
            quantity::TABLE,
            strings::V0,
            strings::FORMAT,
            strings::V1,
            sets::TABLE,
        ]);
        tables.extend([ip::TABLE, cidr::TABLE, format::TABLE, authz::SELECTORS]);
        if self.0 >= 32 {
            tables.push(comprehensions::TABLE);
        }
        if self.0 >= 33 {
            tables.extend([semver::V0, semver::V1]);
        }
        if self.0 >= 34 {
            tables.extend([lists::V0, lists::V1, lists::V2]);
        }
        if self.0 >= 37 {
            tables.extend([k8s_lists::V0, k8s_lists::V1]);
        }
        tables
    }
}

impl Libraries {
    /// The syntax and macros that the libraries bring.
    pub(crate) fn syntax(self) -> Options {
        let extensions: &[Extension] = match self {
            Self::Kubernetes(Level(..32)) | Self::Mutation(Level(..32)) => &[],
            Self::Kubernetes(Level(..34)) | Self::Mutation(Level(..34)) => &[Extension::TwoVariables],
            Self::Kubernetes(_) | Self::Mutation(_) => &[Extension::TwoVariables, Extension::SortBy],
            Self::Conformance => &[
                Extension::TwoVariables,
                Extension::SortBy,
                Extension::Bind,
                Extension::Math,
                Extension::Block,
            ],
        };
        let options = Options::STANDARD.with(Extension::OptionalTypes);
        extensions.iter().copied().fold(options, Options::with)
    }

    fn tables(self) -> Vec<&'static [Row]> {
        match self {
            Self::Kubernetes(level) => level.tables(),
            Self::Mutation(level) => {
                let mut tables = level.tables();
                tables.push(jsonpatch::TABLE);
                tables
            }
            Self::Conformance => vec![
                standard::TABLE,
                optional::TABLE,
                comprehensions::TABLE,
                encoders::TABLE,
                math::TABLE,
                strings::V0,
                strings::V1,
                strings::V3,
                strings::FORMAT_V4,
                lists::V0,
                lists::V1,
                lists::V2,
                sets::TABLE,
            ],
        }
    }
}

/// The functions of libraries, which all environments with these libraries share.
pub(crate) fn functions(libraries: Libraries) -> Arc<Functions> {
    static CACHE: LazyLock<Mutex<HashMap<Libraries, Arc<Functions>>>> = LazyLock::new(Mutex::default);
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    let functions = cache.entry(libraries).or_insert_with(|| Arc::new(declare(&libraries.tables())));
    Arc::clone(functions)
}

fn declare(tables: &[&[Row]]) -> Functions {
    let mut functions = Functions::new();
    for (name, id, signature) in tables.iter().copied().flatten() {
        // A test reads every row of every table.
        let Some(overload) = Overload::parse(id, signature) else { continue };
        let name: Arc<str> = (*name).into();
        let function = functions
            .entry(name)
            .or_insert_with_key(|name| Function { name: name.clone(), overloads: Vec::new() });
        function.overloads.push(overload);
    }
    functions
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Level, Libraries, functions};

    fn overloads(libraries: Libraries, function: &str) -> Vec<String> {
        functions(libraries).get(function).map_or_else(Vec::new, |function| {
            function.overloads.iter().map(|overload| overload.id.to_string()).collect()
        })
    }

    #[test]
    fn every_row_declares_an_overload() {
        for libraries in [
            Libraries::Conformance,
            Libraries::Mutation(Level::of_stored_expressions(33)),
            Libraries::Mutation(Level::of_stored_expressions(37)),
        ] {
            let rows: usize = libraries.tables().iter().map(|table| table.len()).sum();
            let declared: usize =
                functions(libraries).values().map(|function| function.overloads.len()).sum();
            assert_eq!(declared, rows);
        }
    }

    #[test]
    fn a_version_has_as_many_overloads_as_its_kube_apiserver() {
        let count = |level| {
            functions(Libraries::Kubernetes(level)).values().map(|f| f.overloads.len()).sum::<usize>()
        };
        assert_eq!(
            [32, 33, 34, 35, 36, 37].map(|minor| count(Level::of_new_expressions(minor))),
            [305, 307, 317, 339, 339, 339]
        );
        assert_eq!(
            [33, 34, 35, 36, 37].map(|minor| count(Level::of_stored_expressions(minor))),
            [317, 339, 339, 339, 340]
        );
    }

    #[test]
    fn a_function_is_for_new_expressions_one_version_after_stored_ones() {
        let new = |minor| overloads(Libraries::Kubernetes(Level::of_new_expressions(minor)), "includes");
        let stored =
            |minor| overloads(Libraries::Kubernetes(Level::of_stored_expressions(minor)), "includes");
        assert!(new(37).is_empty() && stored(36).is_empty());
        assert_eq!(stored(37), ["list_includes_dyn_dyn"]);
        assert_eq!(new(38), stored(37));
    }

    #[test]
    fn overloads_of_several_libraries_are_in_the_order_of_kube_apiserver() {
        let level = Level::of_new_expressions(37);
        assert_eq!(
            overloads(Libraries::Kubernetes(level), "indexOf"),
            ["list_a_index_of_int", "string_index_of_string", "string_index_of_string_int"]
        );
        assert_eq!(
            overloads(Libraries::Kubernetes(Level::of_stored_expressions(37)), "indexOf"),
            ["string_index_of_string", "string_index_of_string_int", "list_a_index_of_int"]
        );
        assert_eq!(
            overloads(Libraries::Kubernetes(level), "_[_]"),
            ["index_list", "index_map", "optional_list_index_int", "optional_map_index_value"]
        );
    }

    #[test]
    fn libraries_are_shared() {
        let libraries = Libraries::Kubernetes(Level::of_new_expressions(37));
        assert!(Arc::ptr_eq(&functions(libraries), &functions(libraries)));
        assert!(Arc::ptr_eq(
            &functions(libraries),
            &functions(Libraries::Kubernetes(Level::of_stored_expressions(36)))
        ));
    }

    #[test]
    fn math_and_base64_are_for_conformance_tests_only() {
        assert!(overloads(Libraries::Mutation(Level::of_stored_expressions(37)), "base64.encode").is_empty());
        assert_eq!(overloads(Libraries::Conformance, "base64.encode"), ["base64_encode_bytes"]);
        assert!(
            overloads(Libraries::Kubernetes(Level::of_stored_expressions(37)), "jsonpatch.escapeKey")
                .is_empty()
        );
    }
}
