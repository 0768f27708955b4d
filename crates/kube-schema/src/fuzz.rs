//! What must hold of any schema and any definition that a client sends. `fuzz/README.md` of the repository says who calls this.

use serde_json::Value;

use crate::{Schema, crd};

/// A schema that parses prunes an object once and for all, and so it fills in defaults. The first line of the input is the schema, the
/// second one an object.
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
    let alone = schema.validate(&object, None);
    // What was accepted and does not change is not refused.
    if alone.errors.is_empty() {
        assert_eq!(schema.validate(&object, Some(&object)).errors, []);
    }
}

/// Defaults of a definition are filled in once and for all, and a schema of one that is accepted parses.
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
        // An update names the state that it is of.
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
