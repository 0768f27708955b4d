//! Paths in a volume of which one hides the other.

use serde_json::Value;

use super::fields::{items, text};

/// A path, and where it is from. Empty: from the volume itself.
#[derive(Clone, PartialEq)]
struct Source {
    path: String,
    from: String,
}

impl Source {
    fn shown(&self) -> String {
        if self.from.is_empty() {
            format!("{:?}", self.path)
        } else {
            format!("{:?} ({})", self.path, self.from)
        }
    }

    /// Whether one of two paths is the other one, or a folder of it.
    fn overlaps(&self, other: &Self) -> bool {
        let (path, other) = (format!("{}/", self.path), format!("{}/", other.path));
        path.len() > 1 && other.len() > 1 && (path.starts_with(&other) || other.starts_with(&path))
    }
}

/// Warns of overlaps in each volume of a Pod.
pub(super) fn check(volumes: &[Value], warnings: &mut Vec<String>) {
    for volume in volumes {
        let name = text(volume, "name");
        for (field, kind) in
            [("configMap", "ConfigMap"), ("secret", "Secret"), ("downwardAPI", "DownwardAPI")]
        {
            let source = &volume[field];
            let what = match field {
                "configMap" => format!("{kind} {:?}", text(source, "name")),
                "secret" => format!("{kind} {:?}", text(source, "secretName")),
                _ => kind.to_owned(),
            };
            find(paths(source, ""), name, &what, warnings);
        }
        let sources = items(&volume["projected"]["sources"]);
        for _ in sources.iter().filter(|it| it.as_object().is_none_or(serde_json::Map::is_empty)) {
            warnings.push(format!("volume {name:?} (Projected) has no sources provided"));
        }
        find(sources.iter().flat_map(projected).collect(), name, "Projected", warnings);
    }
}

fn find(sources: Vec<Source>, volume: &str, what: &str, warnings: &mut Vec<String>) {
    let mut seen: Vec<Source> = Vec::new();
    for mut source in sources {
        source.path = source.path.trim_end_matches('/').to_owned();
        for other in seen.iter().filter(|other| other.overlaps(&source)) {
            warnings.push(format!(
                "volume {volume:?} ({what}): overlapping paths: {} with {}",
                source.shown(),
                other.shown()
            ));
        }
        seen.push(source);
    }
}

fn paths(source: &Value, from: &str) -> Vec<Source> {
    let paths = items(&source["items"]).iter().map(|item| text(item, "path").to_owned());
    paths.map(|path| Source { path, from: from.to_owned() }).collect()
}

/// The paths of a source of a projected volume.
fn projected(source: &Value) -> Vec<Source> {
    let one = |path: &str, from: String| vec![Source { path: path.to_owned(), from }];
    let (map, secret) = (&source["configMap"], &source["secret"]);
    let (token, bundle) = (&source["serviceAccountToken"], &source["clusterTrustBundle"]);
    if map["items"].is_array() {
        return paths(map, &format!("ConfigMap {:?}", text(map, "name")));
    }
    if secret["items"].is_array() {
        return paths(secret, &format!("Secret {:?}", text(secret, "name")));
    }
    if source["downwardAPI"]["items"].is_array() {
        return paths(&source["downwardAPI"], "DownwardAPI");
    }
    if token.is_object() {
        return one(text(token, "path"), "ServiceAccountToken".to_owned());
    }
    if bundle.is_object() {
        let name = bundle["name"].as_str().unwrap_or_else(|| text(bundle, "signerName"));
        return one(text(bundle, "path"), format!("ClusterTrustBundle {name:?}"));
    }
    let certificate = &source["podCertificate"];
    let files = [
        ("certificateChainPath", "PodCertificate chain"),
        ("keyPath", "PodCertificate key"),
        ("credentialBundlePath", "PodCertificate credential bundle"),
    ];
    let given = files.into_iter().filter(|(field, _)| !text(certificate, field).is_empty());
    given.flat_map(|(field, from)| one(text(certificate, field), from.to_owned())).collect()
}
