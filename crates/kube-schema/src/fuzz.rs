//! Properties that hold for any schema and any definition that a client sends. `fuzz/README.md` in the repository describes
//! who calls these functions.

use serde_json::Value;

use crate::{Schema, crd};

/// Pruning and defaulting by a schema that parses are idempotent. The input is two JSON values: the schema, and an object.
pub fn schema(input: &[u8]) {
    let mut values = serde_json::Deserializer::from_slice(input).into_iter::<Value>().map_while(Result::ok);
    let Some(Ok(schema)) = values.next().map(|openapi| Schema::parse(&openapi, "")) else { return };
    let Some(mut object) = values.next() else { return };
    schema.prune(&mut object);
    schema.apply_defaults(&mut object);
    let mut again = object.clone();
    assert_eq!(schema.prune(&mut again), [] as [String; 0]);
    schema.apply_defaults(&mut again);
    assert_eq!(again, object);
    let alone = schema.validate(&object, None, None, Vec::new());
    // A valid object stays valid if it does not change.
    if alone.errors.is_empty() {
        assert_eq!(schema.validate(&object, Some(&object), None, Vec::new()).errors, []);
    }
}

/// Defaulting a definition is idempotent, and the schemas of an accepted definition parse.
pub fn definition(input: &[u8]) {
    let Ok(mut definition) = serde_json::from_slice::<Value>(input) else { return };
    crd::apply_defaults(&mut definition);
    let mut again = definition.clone();
    crd::apply_defaults(&mut again);
    assert_eq!(again, definition);
    if crd::validate(&definition).is_empty() {
        let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
        for version in versions {
            assert!(Schema::parse(&version["schema"]["openAPIV3Schema"], "").is_ok());
        }
        let updated = crd::validate_update(&definition, &definition, true);
        // Only a resourceVersion is missing, which an update must have.
        assert!(updated.iter().all(|error| error.field.starts_with("metadata")), "{updated:?}");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn schemas() {
        fuzz::check("schema", 256, super::schema);
    }

    #[test]
    fn definitions() {
        fuzz::check("definition", 256, super::definition);
    }
}
