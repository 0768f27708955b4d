//! One kubeconfig file, as client-go's types define it (`tools/clientcmd/api/v1/types.go`).
//!
//! Empty and missing values are equivalent, and unknown fields are dropped. A wrong type or a duplicate name rejects
//! the file. What a context requires is only checked when the context is used.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::node::{Extensions, Node};

/// The content of a file. No type in it implements `Debug`, because it contains secrets.
#[derive(Default)]
pub(crate) struct Kubeconfig {
    pub(crate) clusters: BTreeMap<String, Cluster>,
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) contexts: BTreeMap<String, Context>,
    pub(crate) current_context: String,
    pub(crate) colors: bool,
    pub(crate) preferences_extensions: Extensions,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Default, PartialEq)]
pub(crate) struct Cluster {
    pub(crate) server: String,
    pub(crate) tls_server_name: String,
    pub(crate) insecure_skip_tls_verify: bool,
    pub(crate) certificate_authority: String,
    pub(crate) certificate_authority_data: Vec<u8>,
    pub(crate) proxy_url: String,
    pub(crate) disable_compression: bool,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Default, PartialEq)]
pub(crate) struct User {
    pub(crate) client_certificate: String,
    pub(crate) client_certificate_data: Vec<u8>,
    pub(crate) client_key: String,
    pub(crate) client_key_data: Vec<u8>,
    pub(crate) token: String,
    pub(crate) token_file: String,
    pub(crate) impersonate: String,
    pub(crate) impersonate_uid: String,
    pub(crate) impersonate_groups: Vec<String>,
    pub(crate) impersonate_user_extra: BTreeMap<String, Vec<String>>,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) auth_provider: Option<AuthProvider>,
    pub(crate) exec: Option<Exec>,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, PartialEq)]
pub(crate) struct AuthProvider {
    pub(crate) name: String,
    config: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq)]
pub(crate) struct Exec {
    pub(crate) command: String,
    /// `None` and empty differ only in the JSON that kubectl prints.
    args: Option<Vec<String>>,
    env: Option<Vec<(String, String)>>,
    pub(crate) api_version: String,
    pub(crate) install_hint: String,
    pub(crate) provide_cluster_info: bool,
    pub(crate) interactive_mode: String,
}

#[derive(Clone, Default, PartialEq)]
pub(crate) struct Context {
    pub(crate) cluster: String,
    pub(crate) user: String,
    pub(crate) namespace: String,
    pub(crate) extensions: Extensions,
}

impl Kubeconfig {
    /// Decodes the content of a file. An error names the entry, but none of its values.
    pub(crate) fn decode(document: &Value) -> Result<Self, String> {
        let root = Node::root(document);
        root.object()?;
        let (version, kind) = (root.string("apiVersion")?, root.string("kind")?);
        if !matches!(version.as_str(), "" | "v1") || !matches!(kind.as_str(), "" | "Config") {
            return Err(format!("expected a v1 Config, found apiVersion {version:?}, kind {kind:?}"));
        }
        let preferences = root.field("preferences");
        Ok(Self {
            clusters: root.named("clusters", "cluster", Cluster::decode)?,
            users: root.named("users", "user", User::decode)?,
            contexts: root.named("contexts", "context", Context::decode)?,
            current_context: root.string("current-context")?,
            colors: preferences.bool("colors")?,
            preferences_extensions: preferences.extensions()?,
            extensions: root.extensions()?,
        })
    }
}

impl Cluster {
    fn decode(node: &Node<'_>) -> Result<Self, String> {
        Ok(Self {
            server: node.string("server")?,
            tls_server_name: node.string("tls-server-name")?,
            insecure_skip_tls_verify: node.bool("insecure-skip-tls-verify")?,
            certificate_authority: node.string("certificate-authority")?,
            certificate_authority_data: node.bytes("certificate-authority-data")?,
            proxy_url: node.string("proxy-url")?,
            disable_compression: node.bool("disable-compression")?,
            extensions: node.extensions()?,
        })
    }

    pub(crate) fn to_json(&self) -> Value {
        Fields::default()
            .always("server", json!(self.server))
            .string("tls-server-name", &self.tls_server_name)
            .bool("insecure-skip-tls-verify", self.insecure_skip_tls_verify)
            .string("certificate-authority", &self.certificate_authority)
            .bytes("certificate-authority-data", &self.certificate_authority_data)
            .string("proxy-url", &self.proxy_url)
            .bool("disable-compression", self.disable_compression)
            .extensions(&self.extensions)
            .finish()
    }
}

impl User {
    fn decode(node: &Node<'_>) -> Result<Self, String> {
        let (auth_provider, exec) = (node.field("auth-provider"), node.field("exec"));
        Ok(Self {
            client_certificate: node.string("client-certificate")?,
            client_certificate_data: node.bytes("client-certificate-data")?,
            client_key: node.string("client-key")?,
            client_key_data: node.bytes("client-key-data")?,
            token: node.string("token")?,
            token_file: node.string("tokenFile")?,
            impersonate: node.string("as")?,
            impersonate_uid: node.string("as-uid")?,
            impersonate_groups: node.field("as-groups").strings()?.unwrap_or_default(),
            impersonate_user_extra: node
                .field("as-user-extra")
                .entries(|value| Ok(value.strings()?.unwrap_or_default()))?,
            username: node.string("username")?,
            password: node.string("password")?,
            auth_provider: match auth_provider.value {
                Value::Null => None,
                _ => Some(AuthProvider {
                    name: auth_provider.string("name")?,
                    config: auth_provider.field("config").entries(Node::as_string)?,
                }),
            },
            exec: match exec.value {
                Value::Null => None,
                _ => Some(Exec::decode(&exec)?),
            },
            extensions: node.extensions()?,
        })
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut fields = Fields::default()
            .string("client-certificate", &self.client_certificate)
            .bytes("client-certificate-data", &self.client_certificate_data)
            .string("client-key", &self.client_key)
            .bytes("client-key-data", &self.client_key_data)
            .string("token", &self.token)
            .string("tokenFile", &self.token_file)
            .string("as", &self.impersonate)
            .string("as-uid", &self.impersonate_uid)
            .string("username", &self.username)
            .string("password", &self.password)
            .extensions(&self.extensions);
        if !self.impersonate_groups.is_empty() {
            fields = fields.always("as-groups", json!(self.impersonate_groups));
        }
        if !self.impersonate_user_extra.is_empty() {
            fields = fields.always("as-user-extra", json!(self.impersonate_user_extra));
        }
        if let Some(provider) = &self.auth_provider {
            let config = if provider.config.is_empty() { Value::Null } else { json!(provider.config) };
            fields = fields.always("auth-provider", json!({"name": provider.name, "config": config}));
        }
        if let Some(exec) = &self.exec {
            fields = fields.always("exec", exec.to_json());
        }
        fields.finish()
    }
}

impl Exec {
    fn decode(node: &Node<'_>) -> Result<Self, String> {
        let api_version = node.string("apiVersion")?;
        let mut interactive_mode = node.string("interactiveMode")?;
        // client-go `tools/clientcmd/api/v1/defaults.go`: only v1 requires it to be set.
        if interactive_mode.is_empty()
            && matches!(
                api_version.as_str(),
                "client.authentication.k8s.io/v1beta1" | "client.authentication.k8s.io/v1alpha1"
            )
        {
            "IfAvailable".clone_into(&mut interactive_mode);
        }
        Ok(Self {
            command: node.string("command")?,
            args: node.field("args").strings()?,
            env: match node.field("env").list()? {
                Some(items) => Some(items.iter().map(env_variable).collect::<Result<_, _>>()?),
                None => None,
            },
            api_version,
            install_hint: node.string("installHint")?,
            provide_cluster_info: node.bool("provideClusterInfo")?,
            interactive_mode,
        })
    }

    pub(crate) fn args(&self) -> &[String] {
        self.args.as_deref().unwrap_or_default()
    }

    pub(crate) fn env(&self) -> &[(String, String)] {
        self.env.as_deref().unwrap_or_default()
    }

    pub(crate) fn to_json(&self) -> Value {
        let env: Option<Vec<_>> = self
            .env
            .as_ref()
            .map(|env| env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect());
        Fields::default()
            .always("command", json!(self.command))
            .always("args", json!(self.args))
            .always("env", json!(env))
            .string("apiVersion", &self.api_version)
            .string("installHint", &self.install_hint)
            .always("provideClusterInfo", json!(self.provide_cluster_info))
            .string("interactiveMode", &self.interactive_mode)
            .finish()
    }
}

impl Context {
    fn decode(node: &Node<'_>) -> Result<Self, String> {
        Ok(Self {
            cluster: node.string("cluster")?,
            user: node.string("user")?,
            namespace: node.string("namespace")?,
            extensions: node.extensions()?,
        })
    }

    pub(crate) fn to_json(&self) -> Value {
        Fields::default()
            .always("cluster", json!(self.cluster))
            .always("user", json!(self.user))
            .string("namespace", &self.namespace)
            .extensions(&self.extensions)
            .finish()
    }
}

fn env_variable(node: &Node<'_>) -> Result<(String, String), String> {
    Ok((node.string("name")?, node.string("value")?))
}

/// Formats extensions as kubectl prints them: a list, ordered by name.
pub(crate) fn extensions_json(extensions: &Extensions) -> Value {
    extensions.iter().map(|(name, value)| json!({"name": name, "extension": value})).collect()
}

/// A JSON object that omits empty values, like Go's `omitempty`.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn always(mut self, key: &str, value: Value) -> Self {
        self.0.insert(key.to_owned(), value);
        self
    }

    fn string(self, key: &str, value: &str) -> Self {
        if value.is_empty() { self } else { self.always(key, json!(value)) }
    }

    fn bool(self, key: &str, value: bool) -> Self {
        if value { self.always(key, json!(true)) } else { self }
    }

    fn bytes(self, key: &str, value: &[u8]) -> Self {
        if value.is_empty() { self } else { self.always(key, json!(STANDARD.encode(value))) }
    }

    fn extensions(self, extensions: &Extensions) -> Self {
        if extensions.is_empty() { self } else { self.always("extensions", extensions_json(extensions)) }
    }

    fn finish(self) -> Value {
        Value::Object(self.0)
    }
}
