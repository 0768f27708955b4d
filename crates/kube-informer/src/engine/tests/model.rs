//! A server with one resource: its objects, its history, and its responses.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::protocol::{ListVersion, Request};

/// The page size. Small, so that short histories have pages.
const PAGE: usize = 2;

/// The name of an object that always exists.
pub(super) const ALWAYS: &str = "always";

/// Why an object fails to decode as a Blog.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bad {
    Spec,
    Uid,
    Version,
    Name,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stored {
    pub(super) uid: u64,
    pub(super) version: u64,
    pub(super) bad: Option<Bad>,
}

#[derive(Debug)]
pub(super) struct Server {
    namespace: &'static str,
    pub(super) revision: u64,
    pub(super) objects: BTreeMap<String, Stored>,
    /// All changes of this epoch: version, type, name, object.
    log: Vec<(u64, &'static str, String, Stored)>,
    /// The states of this epoch by revision, for lists of the past.
    past: BTreeMap<u64, BTreeMap<String, Stored>>,
    /// Changes up to this revision are compacted.
    floor: u64,
    next_uid: u64,
    epochs: u32,
}

/// A response of the server.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) body: String,
    /// Whether the response continues after this body.
    pub(super) open: bool,
}

impl Server {
    pub(super) fn new(namespace: &'static str) -> Self {
        let mut server = Self {
            namespace,
            revision: 1 << 20,
            objects: BTreeMap::new(),
            log: Vec::new(),
            past: BTreeMap::new(),
            floor: 0,
            next_uid: 1,
            epochs: 0,
        };
        server.put(ALWAYS, None);
        server
    }

    /// Creates or updates an object; a `bad` one fails to decode. Returns the line of the watch.
    pub(super) fn put(&mut self, name: &str, bad: Option<Bad>) -> String {
        self.revision += 1;
        let known = self.objects.get(name);
        let kind = if known.is_some() { "MODIFIED" } else { "ADDED" };
        let uid = known.map_or(self.next_uid, |stored| stored.uid);
        self.next_uid += 1;
        let stored = Stored { uid, version: self.revision, bad };
        self.objects.insert(name.to_owned(), stored.clone());
        self.changed(kind, name, stored)
    }

    pub(super) fn delete(&mut self, name: &str) -> Option<String> {
        let last = self.objects.remove(name)?;
        self.revision += 1;
        let stored = Stored { version: self.revision, ..last };
        Some(self.changed("DELETED", name, stored))
    }

    pub(super) fn compact(&mut self) {
        self.floor = self.revision;
    }

    /// Restarts a server that keeps its state in memory: versions start anew, with other objects under the same
    /// names, or with the same ones, as if restored from a backup.
    pub(super) fn restart(&mut self, same_objects: bool) {
        if self.epochs == 8 {
            return;
        }
        self.epochs += 1;
        // So low that the new epoch never reaches the old one, which would be undetectable.
        self.revision = 1 << (20 - 2 * self.epochs);
        self.floor = 0;
        self.log.clear();
        self.past.clear();
        let keep = self.objects.len() / 2;
        let mut names = vec![ALWAYS.to_owned()];
        names.extend(self.objects.keys().filter(|name| *name != ALWAYS).take(keep).cloned());
        let before = std::mem::take(&mut self.objects);
        for name in names {
            if same_objects {
                self.objects.insert(name.clone(), before[&name].clone());
            }
            self.put(&name, None);
        }
    }

    /// Restores an etcd backup and moves versions forward, as etcd's manual recommends.
    pub(super) fn restore(&mut self) {
        let Some(backup) = self.past.values().rev().nth(2).cloned() else { return };
        self.objects = backup;
        self.revision += 10;
        self.floor = self.revision;
        self.log.clear();
        self.past.clear();
        self.remember();
    }

    /// Returns the lines of what came after a version.
    pub(super) fn since(&self, version: u64) -> String {
        let after = self.log.iter().filter(|(at, ..)| *at > version);
        after.map(|(_, kind, name, stored)| line(kind, &self.object(name, stored))).collect()
    }

    /// `lag` is how many revisions old a list from the watch cache is.
    pub(super) fn answer(&self, request: &Request, ignores_initial: bool, lag: u64) -> Answer {
        let ok = |body, open| Answer { code: 200, body, open };
        match request {
            Request::Watch { from, .. } => {
                let from: u64 = from.to_string().parse().unwrap();
                if from < self.floor {
                    return refusal(410, "Expired", "");
                }
                ok(self.since(from) + &bookmark(self.revision, false), true)
            }
            Request::WatchList { version, .. } => {
                if let Some(refused) = self.too_large(*version) {
                    return refused;
                }
                let (revision, objects) = self.state(*version, lag);
                let mut body: String =
                    objects.iter().map(|(name, stored)| line("ADDED", &self.object(name, stored))).collect();
                if !ignores_initial {
                    body += &bookmark(revision, true);
                    // The watch continues from the state that it began with.
                    body += &self.since(revision);
                }
                ok(body, true)
            }
            Request::List { version, limit, continue_token } => {
                if let Some(refused) = self.too_large(*version) {
                    return refused;
                }
                let (revision, skip) = match continue_token {
                    Some(token) => {
                        let (revision, skip) = token.split_once(':').unwrap();
                        (revision.parse().unwrap(), skip.parse().unwrap())
                    }
                    None => (self.state(*version, lag).0, 0),
                };
                if continue_token.is_some() && revision < self.floor {
                    return refusal(410, "Expired", "");
                }
                let Some(objects) = self.past.get(&revision) else { return refusal(410, "Expired", "") };
                let size = if limit.is_some() { PAGE } else { usize::MAX };
                let items: Vec<Value> = objects
                    .iter()
                    .skip(skip)
                    .take(size)
                    .map(|(name, stored)| self.object(name, stored))
                    .collect();
                let next = skip + items.len();
                let more = next < objects.len();
                let token = if more { format!("{revision}:{next}") } else { String::new() };
                let metadata = json!({"resourceVersion": revision.to_string(), "continue": token});
                ok(json!({"kind": "BlogList", "items": items, "metadata": metadata}).to_string(), false)
            }
            Request::Discover => ok(json!({"resources": [{"name": "blogs"}]}).to_string(), false),
        }
    }

    fn changed(&mut self, kind: &'static str, name: &str, stored: Stored) -> String {
        let text = line(kind, &self.object(name, &stored));
        self.log.push((self.revision, kind, name.to_owned(), stored));
        self.remember();
        text
    }

    fn remember(&mut self) {
        self.past.insert(self.revision, self.objects.clone());
    }

    fn object(&self, name: &str, stored: &Stored) -> Value {
        let url = format!("https://{}", stored.version);
        let mut object = json!({
            "apiVersion": "web.helloworld/v1",
            "kind": "Blog",
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "uid": stored.uid.to_string(),
                "resourceVersion": stored.version.to_string(),
                "managedFields": [{"manager": "test", "fieldsV1": {"f:spec": {}}}],
            },
            "spec": {"url": url},
        });
        match stored.bad {
            Some(Bad::Spec) => object["spec"]["url"] = json!(5),
            Some(Bad::Uid) => object["metadata"]["uid"] = json!(5),
            Some(Bad::Version) => object["metadata"]["resourceVersion"] = json!("x"),
            Some(Bad::Name) => object["metadata"]["name"] = Value::Null,
            None => {}
        }
        object
    }

    fn too_large(&self, version: ListVersion) -> Option<Answer> {
        let ListVersion::AtLeast(version) = version else { return None };
        let version: u64 = version.to_string().parse().unwrap();
        (version > self.revision).then(|| refusal(504, "Timeout", "ResourceVersionTooLarge"))
    }

    fn state(&self, version: ListVersion, lag: u64) -> (u64, &BTreeMap<String, Stored>) {
        let lag = if version == ListVersion::Latest { 0 } else { lag };
        let wanted = self.revision.saturating_sub(lag);
        let found = self.past.range(..=wanted).next_back().or_else(|| self.past.iter().next());
        let (revision, objects) = found.unwrap();
        (*revision, objects)
    }
}

pub(super) fn refusal(code: u16, reason: &str, cause: &str) -> Answer {
    let details = json!({"causes": [{"reason": cause}]});
    let status = json!({
        "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "no", "details": details
    });
    Answer { code, body: status.to_string(), open: false }
}

pub(super) fn bookmark(revision: u64, ends_initial: bool) -> String {
    let annotations = if ends_initial { json!({"k8s.io/initial-events-end": "true"}) } else { json!({}) };
    let metadata = json!({"resourceVersion": revision.to_string(), "annotations": annotations});
    line("BOOKMARK", &json!({"kind": "Blog", "apiVersion": "web.helloworld/v1", "metadata": metadata}))
}

pub(super) fn line(kind: &str, object: &Value) -> String {
    // The type comes first, as on the wire.
    //
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}
