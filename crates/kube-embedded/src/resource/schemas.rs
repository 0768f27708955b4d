//! Parses the schemas of definitions, each of them once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube_schema::Schema;
use kube_validation::FieldErrors;
use serde_json::Value;

/// How many schemas are kept that are not served.
const KEPT_MAX: usize = 8;

/// The schemas of definitions that were validated and are not served yet, so that they are not parsed again for that: their
/// rules take long to compile.
///
/// Those of definitions that are not stored after all are forgotten when there are [`KEPT_MAX`] newer ones.
#[derive(Debug, Default)]
pub(crate) struct Schemas(Mutex<VecDeque<Parsed>>);

#[derive(Debug)]
struct Parsed {
    openapi: Value,
    schema: Arc<Schema>,
}

impl Schemas {
    /// Parses the schema of a version. `previous` is the schema of that version that is served, before and after parsing.
    pub(super) fn parse(
        &self,
        openapi: &Value,
        path: &str,
        previous: Option<(&Value, &Arc<Schema>)>,
    ) -> Result<Arc<Schema>, FieldErrors> {
        if let Some((_, schema)) = previous.filter(|(parsed, _)| *parsed == openapi) {
            return Ok(Arc::clone(schema));
        }
        if let Some(found) = self.kept().iter().find(|kept| kept.openapi == *openapi) {
            return Ok(Arc::clone(&found.schema));
        }
        let schema = match previous {
            Some((_, previous)) => Schema::parse_update(openapi, path, previous)?,
            None => Schema::parse(openapi, path)?,
        };
        let schema = Arc::new(schema);
        let mut kept = self.kept();
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(Parsed { openapi: openapi.clone(), schema: Arc::clone(&schema) });
        Ok(schema)
    }

    /// Forgets a schema, because it is served.
    pub(super) fn forget(&self, served: &Arc<Schema>) {
        self.kept().retain(|kept| !Arc::ptr_eq(&kept.schema, served));
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> Vec<Arc<Schema>> {
        self.kept().iter().map(|kept| Arc::clone(&kept.schema)).collect()
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Parsed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
