//! The software bill of materials of a binary, in CycloneDX 1.5 as JSON.

use anyhow::{Context as _, Result, ensure};
use cyclonedx_bom::{
    external_models::{
        date_time::DateTime,
        spdx::SpdxExpression,
        uri::{Purl, Uri},
    },
    models::{
        bom::{Bom, SpecVersion},
        component::{Classification, Component, Components},
        dependency::{Dependencies, Dependency},
        external_reference::{ExternalReference, ExternalReferenceType, ExternalReferences},
        hash::{Hash, HashAlgorithm, HashValue, Hashes},
        license::{LicenseChoice, Licenses},
        metadata::Metadata,
        property::{Properties, Property},
        tool::{Tool, Tools},
    },
    validation::Validate as _,
};
use jiff::Timestamp;

use super::{
    packages::{Id, Packages, Part},
    target::Target,
};

/// Returns the document. It has no serial number, which would have to be different each time.
pub(crate) fn json(packages: &Packages<'_>, target: Target, time: u64) -> Result<Vec<u8>> {
    let bom = bom(packages, target, time)?;
    let result = bom.validate_version(SpecVersion::V1_5);
    ensure!(result.passed(), "it is not valid CycloneDX: {result:?}");
    let mut json = Vec::new();
    bom.output_as_json(&mut json, SpecVersion::V1_5).context("writing JSON")?;
    json.push(b'\n');
    Ok(json)
}

fn bom(packages: &Packages<'_>, target: Target, time: u64) -> Result<Bom> {
    let root = packages.parts.get(&packages.root).context("the binary's own package is one of its parts")?;
    let mut main = component(root, Classification::Application)?;
    let triple = Property::new("target", target.triple());
    main.properties = Some(Properties(vec![triple]));
    let others = packages.parts.iter().filter(|(id, _)| **id != packages.root);
    let others = others.map(|(_, part)| component(part, Classification::Library));
    let dependencies = packages.parts.iter().map(|(id, part)| Dependency {
        dependency_ref: reference(id),
        dependencies: part.uses.iter().map(reference).collect(),
    });
    let seconds = i64::try_from(time).context("reading the time")?;
    let timestamp = Timestamp::from_second(seconds).context("reading the time")?.to_string();
    Ok(Bom {
        version: 1,
        serial_number: None,
        metadata: Some(Metadata {
            timestamp: Some(DateTime::try_from(timestamp).context("writing the time")?),
            tools: Some(Tools::List(vec![Tool::new(
                env!("CARGO_PKG_NAME"),
                "cargo xtask dist",
                env!("CARGO_PKG_VERSION"),
            )])),
            component: Some(main),
            ..Metadata::default()
        }),
        components: Some(Components(others.collect::<Result<_>>()?)),
        dependencies: Some(Dependencies(dependencies.collect())),
        services: None,
        external_references: None,
        compositions: None,
        properties: None,
        vulnerabilities: None,
        signature: None,
        annotations: None,
        formulation: None,
        spec_version: SpecVersion::V1_5,
    })
}

fn component(part: &Part<'_>, kind: Classification) -> Result<Component> {
    let package = part.package;
    let (name, version) = (package.name.as_str(), package.version.to_string());
    let mut component =
        Component::new(kind, name, &version, Some(reference(&(name.to_owned(), version.clone()))));
    component.purl =
        Some(Purl::new("cargo", name, &version).with_context(|| format!("naming {name} {version}"))?);
    // Its manifest only names the file with the text.
    let from_text = (name == "libyaml-safer").then(|| "MIT".to_owned());
    if let Some(license) = package.license.as_ref().or(from_text.as_ref()) {
        let expression = SpdxExpression::parse_lax(license.clone())
            .with_context(|| format!("reading the licence of {name} {version}"))?;
        component.licenses = Some(Licenses(vec![LicenseChoice::Expression(expression)]));
    }
    if let Some(checksum) = &part.checksum {
        let content = HashValue(checksum.clone());
        component.hashes = Some(Hashes(vec![Hash { alg: HashAlgorithm::SHA_256, content }]));
    }
    if let Some(repository) = &package.repository {
        let reference = ExternalReference::new(ExternalReferenceType::Vcs, Uri::new(repository));
        component.external_references = Some(ExternalReferences(vec![reference]));
    }
    Ok(component)
}

fn reference((name, version): &Id) -> String {
    format!("{name}@{version}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cargo_metadata::MetadataCommand;
    use serde_json::Value;

    use super::*;

    /// Checks the members that the schema requires, for the packages of the real binary.
    #[test]
    fn the_sbom_of_crdctl_is_complete() {
        let options = ["--locked".to_owned(), format!("--filter-platform={}", Target::X86_64)];
        let metadata = MetadataCommand::new().other_options(options).exec().unwrap();
        let packages = Packages::of_binary(&metadata, "crdctl", Target::X86_64).unwrap();
        let json = json(&packages, Target::X86_64, 1_700_000_000).unwrap();
        assert!(Bom::parse_from_json(json.as_slice()).unwrap().validate_version(SpecVersion::V1_5).passed());

        let bom: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!((&bom["bomFormat"], &bom["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
        assert_eq!(bom["version"], 1);
        assert_eq!(bom["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
        let main = &bom["metadata"]["component"];
        assert_eq!((&main["name"], &main["type"]), (&"crdctl".into(), &"application".into()));

        let components = bom["components"].as_array().unwrap();
        let names: BTreeSet<&str> =
            components.iter().map(|component| component["name"].as_str().unwrap()).collect();
        for part in ["blog-api", "kube-informer", "aws-lc-rs", "tokio"] {
            assert!(names.contains(part), "{part} in {names:?}");
        }
        for other in ["crdctl", "proptest", "serde_derive", "cc", "windows-sys"] {
            assert!(!names.contains(other), "{other} in {names:?}");
        }
        let mut references = BTreeSet::from([main["bom-ref"].as_str().unwrap()]);
        for component in components {
            assert_eq!(component["type"], "library", "{component}");
            assert!(component["licenses"][0]["expression"].is_string(), "{component}");
            let purl = component["purl"].as_str().unwrap();
            assert!(purl.starts_with("pkg:cargo/"), "{component}");
            let of_workspace = metadata
                .workspace_packages()
                .iter()
                .any(|package| component["name"] == *package.name.as_str());
            assert_eq!(component["hashes"][0]["content"].is_string(), !of_workspace, "{component}");
            assert!(references.insert(component["bom-ref"].as_str().unwrap()), "{component} is there twice");
        }
        for dependency in bom["dependencies"].as_array().unwrap() {
            let uses = dependency["dependsOn"].as_array().into_iter().flatten();
            for reference in [&dependency["ref"]].into_iter().chain(uses) {
                assert!(references.contains(reference.as_str().unwrap()), "{reference} is no component");
            }
        }
    }
}
