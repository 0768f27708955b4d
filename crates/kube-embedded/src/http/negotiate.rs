//! The form in which a client wants its response: `Accept`, as apiserver negotiates it.

use http::{HeaderMap, header};

/// What is sent of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum As {
    /// All of it.
    Object,
    /// A `PartialObjectMetadata`, or a list of them.
    Metadata,
    /// A `Table`.
    Table,
}

/// The encoding of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Json,
    Yaml,
}

/// A form that the client accepts and the server supports.
#[derive(Clone, Debug)]
pub(super) struct Accept {
    pub(super) content: As,
    /// The `apiVersion` of a `Table` or a `PartialObjectMetadata`: `meta.k8s.io/v1` or `meta.k8s.io/v1beta1`.
    pub(super) meta_version: String,
    pub(super) encoding: Encoding,
}

/// One media type of an `Accept` header.
#[derive(Debug)]
struct MediaType<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl Accept {
    /// Returns the first form, in the client's order, that the server supports. `None`: it supports none of them.
    pub(super) fn negotiate(headers: &HeaderMap) -> Option<Self> {
        let accepted = media_types(headers);
        if accepted.trim().is_empty() {
            return Some(Self::json());
        }
        accepted.split(',').map(MediaType::parse).find_map(|it| Self::of(&it))
    }

    /// Plain JSON.
    pub(super) fn json() -> Self {
        Self { content: As::Object, meta_version: "meta.k8s.io/v1".to_owned(), encoding: Encoding::Json }
    }

    fn of(media_type: &MediaType<'_>) -> Option<Self> {
        let encoding = match media_type.name {
            "application/json" | "application/*" | "*/*" => Encoding::Json,
            "application/yaml" => Encoding::Yaml,
            _ => return None,
        };
        let version = media_type.parameter("v").unwrap_or("v1");
        let meta = media_type.parameter("g").is_none_or(|group| group == "meta.k8s.io")
            && matches!(version, "v1" | "v1beta1");
        let content = match media_type.parameter("as") {
            None => As::Object,
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") if meta => As::Metadata,
            Some("Table") if meta => As::Table,
            Some(_) => return None,
        };
        Some(Self { content, meta_version: format!("meta.k8s.io/{version}"), encoding })
    }
}

impl Encoding {
    /// The `Content-Type` of a response.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
        }
    }
}

impl<'a> MediaType<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let parameters = parts.filter_map(|part| part.split_once('=')).collect();
        Self { name, parameters }
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(it, _)| *it == name).map(|(_, value)| *value)
    }
}

/// Whether a client wants aggregated discovery.
pub(super) fn aggregated_discovery(headers: &HeaderMap) -> bool {
    let accepted = media_types(headers);
    let first = accepted.split(',').map(MediaType::parse).find(|it| {
        let aggregated = it.parameter("as") == Some("APIGroupDiscoveryList")
            && it.parameter("g") == Some("apidiscovery.k8s.io")
            && it.parameter("v") == Some("v2");
        let plain = it.parameter("as").is_none();
        it.name == "application/json" && (aggregated || plain)
    });
    first.is_some_and(|it| it.parameter("as").is_some())
}

fn media_types(headers: &HeaderMap) -> String {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(accept: &str) -> Option<As> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        Accept::negotiate(&headers).map(|accept| accept.content)
    }

    #[test]
    fn the_first_that_the_server_has_wins() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(content(table), Some(As::Table));
        assert_eq!(content("application/vnd.kubernetes.protobuf,application/json"), Some(As::Object));
        assert_eq!(
            content("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"),
            Some(As::Metadata)
        );
        assert_eq!(content("application/json;as=Table;v=v9;g=meta.k8s.io, */*"), Some(As::Object));
        assert_eq!(content("text/html"), None);
        assert_eq!(content("application/vnd.kubernetes.protobuf"), None);
    }
}
