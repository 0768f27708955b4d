//! Objects in the versions in which managers wrote: what a manager owns is compared there.

use std::cell::RefCell;

use kube_patch::Convert;
use serde_json::Value;

use super::webhooks::Conversions;
use crate::resource::Resource;

/// Converts the objects of a resource for a merge.
///
/// A merge is a function of its arguments, and cannot wait for a webhook. It fails without an object that only a webhook converts,
/// and is repeated with it: see [`merge`].
#[derive(Debug)]
pub(crate) struct Converter<'a> {
    resource: &'a Resource,
    known: Vec<Conversion>,
    lacking: RefCell<Option<(Value, String)>>,
}

/// What a webhook has made of an object.
#[derive(Debug)]
struct Conversion {
    object: Value,
    api_version: String,
    converted: Result<Value, String>,
}

impl<'a> Converter<'a> {
    /// A converter that cannot ask a webhook.
    pub(crate) fn new(resource: &'a Resource) -> Self {
        Self { resource, known: Vec::new(), lacking: RefCell::default() }
    }

    /// `None`: a conversion changes none of the fields.
    pub(crate) fn convert(&self) -> Option<&dyn Convert> {
        let changes_fields = self.resource.custom.is_none() || self.resource.conversion_webhook().is_some();
        changes_fields.then_some(self)
    }
}

impl Convert for Converter<'_> {
    fn convert(&self, object: &Value, api_version: &str) -> Result<Value, String> {
        if self.resource.custom.is_none() {
            let mut converted = object.clone();
            kube_builtin::convert(&mut converted, api_version);
            return Ok(converted);
        }
        // A client may invent versions, in its managed fields.
        if !self.resource.merge_versions().iter().any(|(version, _)| *version == api_version) {
            return Err(format!("request to convert CR to an invalid group/version: {api_version}"));
        }
        let known = self.known.iter().find(|it| it.api_version == api_version && it.object == *object);
        match known {
            Some(known) => known.converted.clone(),
            None => {
                *self.lacking.borrow_mut() = Some((object.clone(), api_version.to_owned()));
                Err("the conversion webhook has to be called".to_owned())
            }
        }
    }
}

/// Merges objects of a resource, with all that a webhook has to convert for it.
pub(super) async fn merge<T>(
    resource: &Resource,
    conversions: &Conversions,
    merge: impl Fn(&Converter<'_>) -> T,
) -> T {
    let mut converter = Converter::new(resource);
    loop {
        let merged = merge(&converter);
        let Some((object, api_version)) = converter.lacking.take() else { return merged };
        let converted = conversions.in_version(resource, object.clone(), &api_version).await;
        converter.known.push(Conversion { object, api_version, converted });
    }
}
