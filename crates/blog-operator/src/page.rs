//! What serves a blog's page: a ConfigMap with the page, and a Deployment and a Service that serve it. Functions from a blog to
//! objects, which contain no more than the operator wants to decide.

use blog_api::Blog;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service},
};
use kube::ResourceExt as _;
use serde_json::{Value, json};

/// Selects the objects of this operator, so that its caches hold no others.
pub(crate) const SELECTOR: &str = "app.kubernetes.io/managed-by=blog-operator";

/// The label that [`SELECTOR`] asks for.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "blog-operator");

/// The label that tells the pods of one blog from those of others.
const INSTANCE: &str = "app.kubernetes.io/instance";

/// Where the server's image looks for pages, and the port on which it serves them.
const FOLDER: &str = "/usr/share/nginx/html";
const PORT: u16 = 8080;

/// Returns the ConfigMap with a page that redirects to the blog's address.
pub(crate) fn config_map(blog: &Blog) -> ConfigMap {
    object(json!({
        "metadata": metadata(blog),
        "data": {"index.html": index_html(&blog.spec.url)},
    }))
}

/// Returns the Deployment of a server for the page.
pub(crate) fn deployment(blog: &Blog, image: &str) -> Deployment {
    let name = name(blog);
    object(json!({
        "metadata": metadata(blog),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {INSTANCE: name}},
            "template": {
                "metadata": {
                    "labels": labels(blog),
                    // A new address replaces the pod. A mounted file would follow, too, but up to two minutes later.
                    "annotations": {"web.helloworld/url": blog.spec.url},
                },
                "spec": {
                    "automountServiceAccountToken": false,
                    "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [{
                        "name": "server",
                        "image": image,
                        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
                        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}},
                        "resources": {
                            "requests": {"cpu": "5m", "memory": "16Mi"},
                            "limits": {"memory": "64Mi"},
                        },
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "capabilities": {"drop": ["ALL"]},
                            "readOnlyRootFilesystem": true,
                        },
                        "volumeMounts": [
                            {"name": "page", "mountPath": FOLDER, "readOnly": true},
                            {"name": "tmp", "mountPath": "/tmp"},
                        ],
                    }],
                    "volumes": [
                        {"name": "page", "configMap": {"name": name}},
                        {"name": "tmp", "emptyDir": {}},
                    ],
                },
            },
        },
    }))
}

/// Returns the Service in front of the [`deployment`].
pub(crate) fn service(blog: &Blog) -> Service {
    object(json!({
        "metadata": metadata(blog),
        "spec": {
            "selector": {INSTANCE: name(blog)},
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        },
    }))
}

/// Returns the name of a blog's objects. A Service's name is a label of at most 63 characters, without dots and beginning with
/// a letter, but a blog's name may have 253 characters, and dots: then a hash of it keeps the names apart.
pub(crate) fn name(blog: &Blog) -> String {
    let name = blog.name_any();
    if name.len() <= 50 && !name.contains('.') {
        return format!("blog-{name}");
    }
    // FNV-1a, because the name must be the same in each release: std's hasher does not promise that.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let start: String = name.chars().take(40).map(|c| if c == '.' { '-' } else { c }).collect();
    format!("blog-{start}-{hash:016x}")
}

fn metadata(blog: &Blog) -> Value {
    json!({"name": name(blog), "namespace": blog.namespace(), "labels": labels(blog)})
}

fn labels(blog: &Blog) -> Value {
    json!({MANAGED_BY.0: MANAGED_BY.1, INSTANCE: name(blog)})
}

fn index_html(url: &str) -> String {
    let url = escape(url);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"refresh\" content=\"0; url={url}\">\n<title>{url}</title>\n</head>\n\
         <body><a href=\"{url}\">{url}</a></body>\n</html>\n"
    )
}

/// Replaces the characters that end a text or an attribute's value in HTML.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Makes a typed object of JSON, which is shorter than Rust's literals: most of their fields are optional.
fn object<T: serde::de::DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap_or_else(|error| unreachable!("a test makes each of them: {error}"))
}

#[cfg(test)]
mod tests {
    use blog_api::BlogSpec;

    use super::*;

    fn blog(name: &str, url: &str) -> Blog {
        let mut blog = Blog::new(name, BlogSpec::new(url));
        blog.metadata.namespace = Some("here".into());
        blog
    }

    #[test]
    fn the_page_is_escaped() {
        let url = r#"https://example.com/?a=1&b="><script>alert('x')</script>"#;
        blog("a", url).spec.validate().unwrap();
        let map = config_map(&blog("a", url));
        let page = &map.data.unwrap()["index.html"];
        let escaped =
            "https://example.com/?a=1&amp;b=&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;";
        assert!(!page.contains("<script>"), "{page}");
        assert!(page.contains(&format!("content=\"0; url={escaped}\"")), "{page}");
        assert!(page.contains(&format!("<a href=\"{escaped}\">")), "{page}");
    }

    #[test]
    fn the_objects_belong_together() {
        let blog = blog("a", "https://example.com");
        let (map, deployment, service) =
            (config_map(&blog), deployment(&blog, "example.com/server:1"), service(&blog));
        for metadata in [&map.metadata, &deployment.metadata, &service.metadata] {
            assert_eq!(metadata.name.as_deref(), Some("blog-a"));
            assert_eq!(metadata.namespace.as_deref(), Some("here"));
            let (key, value) = SELECTOR.split_once('=').unwrap();
            assert_eq!(metadata.labels.as_ref().unwrap()[key], value);
        }
        let spec = deployment.spec;
        let pod = spec.template.metadata.unwrap();
        let has_all = |selector: &std::collections::BTreeMap<String, String>| {
            selector.iter().all(|(key, value)| pod.labels.as_ref().unwrap().get(key) == Some(value))
        };
        assert!(has_all(spec.selector.match_labels.as_ref().unwrap()));
        assert!(has_all(service.spec.unwrap().selector.as_ref().unwrap()));
        let pod = spec.template.spec.unwrap();
        assert_eq!(pod.containers[0].image.as_deref(), Some("example.com/server:1"));
        assert_eq!(pod.volumes.unwrap()[0].config_map.as_ref().unwrap().name, "blog-a");
    }

    #[test]
    fn a_new_address_changes_the_pod() {
        let of = |url| deployment(&blog("a", url), "i").spec.template.metadata;
        assert_ne!(of("https://example.com/1"), of("https://example.com/2"));
    }

    #[test]
    fn names_are_labels_and_stay_apart() {
        let long = "x".repeat(253);
        let names = ["a", "1", "my.blog", "my-blog", "my.blog.", "x", &long, &long[1..], &long[..51]];
        let made: std::collections::BTreeSet<_> =
            names.iter().map(|name| self::name(&blog(name, "https://example.com"))).collect();
        assert_eq!(made.len(), names.len(), "{made:?}");
        for name in &made {
            assert!(name.len() <= 63 && name.starts_with("blog-"), "{name}");
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{name}");
        }
        // It is the same in each release, or the objects of the last one would stay beside the new ones.
        assert_eq!(self::name(&blog("my.blog", "https://example.com")), "blog-my-blog-900d71ffd40b6f8f");
    }
}
