//! What the functions of the libraries do, by cel-go's names of their overloads.

mod arguments;
mod authz;
mod construct;
mod encoders;
mod format;
mod lists;
mod math;
mod named_format;
mod native;
mod net;
mod optional;
mod quantity;
mod semver;
mod strings;
mod time;
mod urls;

use std::{collections::HashMap, sync::LazyLock};

pub(crate) use arguments::Implementation;
pub use authz::{Authorizer, Check, Decision, ResourceAttributes, ServiceAccount, Target};
pub(crate) use authz::{authorizer, resource_check};
pub(crate) use construct::construct;
pub(crate) use encoders::json;
pub(crate) use native::{Numbers, native};
pub(crate) use strings::{find, find_all, matches};

static IMPLEMENTATIONS: LazyLock<HashMap<&str, Implementation>> = LazyLock::new(|| {
    let tables = [
        authz::TABLE,
        encoders::TABLE,
        format::TABLE,
        lists::TABLE,
        math::GREATEST,
        math::LEAST,
        math::TABLE,
        named_format::TABLE,
        net::TABLE,
        optional::TABLE,
        quantity::TABLE,
        semver::TABLE,
        strings::TABLE,
        time::TABLE,
        urls::TABLE,
    ];
    tables.into_iter().flatten().copied().collect()
});

/// The code of an overload; `None` for one that an environment only declares.
pub(crate) fn implementation(overload: &str) -> Option<Implementation> {
    IMPLEMENTATIONS.get(overload).copied()
}
