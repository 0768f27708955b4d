//! The APIServices as they are stored, parsed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::super::derived::Derived;
use super::super::webhooks::{ClientConfig, SERVICE_NAME};
use super::document::Document;
use crate::resource::{API_SERVICES, ENDPOINT_SLICES, SERVICES};
use crate::scheme::by_preference;
use crate::store::Store;
use crate::strategy::conditions;
use crate::webhook::Location;

/// The APIServices as they are now, read again when one was written, and what is known of the servers behind them.
#[derive(Debug, Default)]
pub(crate) struct ApiServices {
    registered: Derived<Registered, 1>,
    /// What aggregated servers have said about their group versions, by the name of the APIService.
    discovered: Mutex<BTreeMap<String, Discovered>>,
}

/// What an aggregated server has said about its group version.
#[derive(Clone, Debug)]
pub(crate) struct Discovered {
    /// An `APIVersionDiscovery`.
    pub(crate) version: Value,
    /// The URL of its document in OpenAPI v3, relative to the server.
    pub(crate) document: Option<String>,
    /// Its document in OpenAPI v2, as far as it has been read.
    pub(crate) document_v2: Option<Arc<Document>>,
}

/// All APIServices, those of preferred groups first.
#[derive(Debug)]
pub(crate) struct Registered {
    all: Vec<ApiService>,
    /// Whether any of them is not local.
    has_remote: bool,
}

/// An APIService.
#[derive(Debug)]
pub(crate) struct ApiService {
    /// `VERSION.GROUP`
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) group_priority: i32,
    pub(crate) version_priority: i32,
    /// `None`: this server serves the group version itself.
    pub(crate) remote: Option<Remote>,
}

/// The server that serves a group version.
#[derive(Debug)]
pub(crate) struct Remote {
    client: ClientConfig,
    namespace: String,
    service: String,
    port: u64,
    /// The condition Available.
    pub(crate) is_available: bool,
}

impl ApiServices {
    /// The APIServices as they are now.
    pub(crate) fn current(&self, store: &Store) -> Arc<Registered> {
        self.registered.current(store, [API_SERVICES], || {
            let stored = store.all(API_SERVICES.collection(), "");
            let mut all: Vec<_> = stored.iter().map(|it| ApiService::parse(it.name(), &it.value())).collect();
            all.sort_by(|a, b| (b.group_priority, &*a.name).cmp(&(a.group_priority, &*b.name)));
            let has_remote = all.iter().any(|it| it.remote.is_some());
            Registered { all, has_remote }
        })
    }

    /// What an aggregated server has said about its group version.
    pub(crate) fn discovered(&self, name: &str) -> Option<Discovered> {
        self.discoveries().get(name).cloned()
    }

    /// Remembers what an aggregated server says about its group version, or forgets it.
    pub(crate) fn set_discovered(&self, name: &str, discovered: Option<Discovered>) {
        match discovered {
            Some(discovered) => _ = self.discoveries().insert(name.to_owned(), discovered),
            None => _ = self.discoveries().remove(name),
        }
    }

    fn discoveries(&self) -> MutexGuard<'_, BTreeMap<String, Discovered>> {
        self.discovered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The group of APIServices.
pub(crate) const OWN_GROUP: &str = "apiregistration.k8s.io";

impl Registered {
    /// The groups with their versions, both in order of preference.
    pub(crate) fn groups(&self) -> Vec<(&str, Vec<&ApiService>)> {
        let mut groups: Vec<(&str, Vec<&ApiService>)> = Vec::new();
        for service in &self.all {
            match groups.iter_mut().find(|(group, _)| *group == service.group) {
                Some((_, versions)) => versions.push(service),
                None => groups.push((&service.group, vec![service])),
            }
        }
        for (_, versions) in &mut groups {
            versions.sort_by(|a, b| {
                by_preference((&a.version, a.version_priority), (&b.version, b.version_priority))
            });
        }
        groups
    }

    /// An APIService by its name.
    pub(crate) fn get(&self, name: &str) -> Option<&ApiService> {
        self.all.iter().find(|it| it.name == name)
    }

    /// Whether another server serves any group version.
    pub(crate) fn has_remote(&self) -> bool {
        self.has_remote
    }

    /// Those whose group version another server serves.
    pub(crate) fn remote(&self) -> impl Iterator<Item = (&ApiService, &Remote)> {
        self.all.iter().filter_map(|it| Some((it, it.remote.as_ref()?)))
    }

    /// The other server that serves a path, if it is not this one.
    pub(crate) fn serving(&self, path: &str) -> Option<&Remote> {
        if !self.has_remote {
            return None;
        }
        let mut parts = path.split('/').skip(1);
        match (parts.next()?, parts.next()) {
            // One APIService stands for all of the legacy API.
            ("api", _) => self.get("v1."),
            // Nothing takes the place of APIServices themselves: they could never be mended again.
            ("apis", Some(group)) if group != OWN_GROUP => {
                let version = parts.next()?;
                self.all.iter().find(|it| it.group == group && it.version == version)
            }
            _ => None,
        }?
        .remote
        .as_ref()
    }
}

impl ApiService {
    fn parse(name: &str, service: &Value) -> Self {
        let spec = &service["spec"];
        let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
        let number =
            |field: &str| spec[field].as_i64().and_then(|it| i32::try_from(it).ok()).unwrap_or_default();
        Self {
            name: name.to_owned(),
            group: text("group"),
            version: text("version"),
            group_priority: number("groupPriorityMinimum"),
            version_priority: number("versionPriority"),
            remote: spec["service"].is_object().then(|| Remote {
                client: ClientConfig::parse(spec),
                namespace: spec["service"]["namespace"].as_str().unwrap_or_default().to_owned(),
                service: spec["service"]["name"].as_str().unwrap_or_default().to_owned(),
                port: spec["service"]["port"].as_u64().unwrap_or(443),
                is_available: conditions::is(service, "Available", "True"),
            }),
        }
    }
}

impl Remote {
    /// Whether a Service is the one that it names.
    pub(crate) fn is_behind(&self, namespace: &str, service: &str) -> bool {
        (&*self.namespace, &*self.service) == (namespace, service)
    }

    /// Where it is now.
    pub(crate) fn location(&self, store: &Store) -> Location {
        self.client.location(store)
    }

    /// The reason and the message of its condition, if its Service does not lead to it.
    pub(crate) fn not_routed(&self, store: &Store) -> Option<(&'static str, String)> {
        let Self { namespace, service, port, .. } = self;
        let Some(stored) = store.get(SERVICES.collection(), &format!("{namespace}/{service}")) else {
            return Some(("ServiceNotFound", format!("service/{service} in {namespace:?} is not present")));
        };
        let stored = stored.value();
        if stored["spec"]["type"] != "ClusterIP" {
            return None;
        }
        let ports = stored["spec"]["ports"].as_array().map_or(&[][..], Vec::as_slice);
        let Some(named) = ports.iter().find(|it| it["port"] == *port) else {
            let message = format!("service/{service} in {namespace:?} is not listening on port {port}");
            return Some(("ServicePortError", message));
        };
        let name = named["name"].as_str().unwrap_or_default();
        let slices = store.all(ENDPOINT_SLICES.collection(), &format!("{namespace}/"));
        let of_service = |labels: &serde_json::Map<String, Value>| {
            labels.get(SERVICE_NAME).and_then(Value::as_str) == Some(service)
        };
        let slices: Vec<_> = slices.iter().filter(|slice| of_service(&slice.labels())).collect();
        if slices.is_empty() {
            let message = format!("cannot find endpointslices for service/{service} in {namespace:?}");
            return Some(("EndpointsNotFound", message));
        }
        let listed = |list: &Value| list.as_array().cloned().unwrap_or_default();
        let is_ready = |slice: &Value| {
            listed(&slice["endpoints"]).iter().any(|it| it["conditions"]["ready"] != false)
                && listed(&slice["ports"]).iter().any(|it| it["name"] == name && !it["port"].is_null())
        };
        let missing = !slices.iter().any(|slice| is_ready(&slice.value()));
        missing.then(|| {
            let message = format!(
                "endpointslices for service/{service} in {namespace:?} have no addresses with port name {name:?}"
            );
            ("MissingEndpoints", message)
        })
    }
}
