//! URLs: apiserver's `urls.go`.

use std::collections::BTreeMap;

use super::arguments::{Table, mismatch, string_list, text};
use crate::{
    go::Url,
    types::Type,
    value::{Error, Evaluated, Key, Opaque, Value},
};

pub(super) const TABLE: Table = &[
    ("string_to_url", |args| {
        let url = Url::new(text(args, 0)?);
        url.map(Value::opaque)
            .map_err(|error| Error::new(format!("URL parse error during conversion from string: {error}")))
    }),
    ("is_url_string", |args| Ok(Value::Bool(Url::is_url(text(args, 0)?)))),
    ("url_get_scheme", |args| of(args, |url| Value::string(url.scheme().to_owned()))),
    ("url_get_host", |args| of(args, |url| Value::string(url.host()))),
    ("url_get_hostname", |args| of(args, |url| Value::string(url.hostname()))),
    ("url_get_port", |args| of(args, |url| Value::string(url.port()))),
    ("url_get_escaped_path", |args| of(args, |url| Value::string(url.escaped_path()))),
    ("url_get_query", |args| {
        of(args, |url| {
            let entries =
                url.query().into_iter().map(|(name, values)| (Key::String(name.into()), string_list(values)));
            Value::Map(entries.collect::<BTreeMap<_, _>>().into())
        })
    }),
];

fn of<'a>(args: &[Value<'a>], compute: impl Fn(&Url) -> Value<'a>) -> Evaluated<'a> {
    match args {
        [value] => value.downcast().map_or_else(mismatch, |url| Ok(compute(url))),
        _ => mismatch(),
    }
}

impl Opaque for Url {
    fn type_of(&self) -> Type {
        Type::object("kubernetes.URL")
    }

    fn equal(&self, other: &Value<'_>) -> Result<bool, Error> {
        Ok(self.to_string() == other.downcast::<Self>().ok_or_else(Error::no_such_overload)?.to_string())
    }

    fn display(&self) -> String {
        self.to_string()
    }
}
