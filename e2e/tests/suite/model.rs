//! Clients that concurrently make random changes to objects, their owners, definitions and namespaces. Once they have stopped
//! and the controllers are done, the served definitions are the stored ones, no object outlives its owners, and nothing was
//! removed that nobody deleted.
//!
//! The actions of each client follow from a seed. Their results, which depend on how the clients interleave, are recorded and
//! compared with a model.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Cluster, eventually,
    http::{Http, JSON_PATCH, MERGE_PATCH},
};
use fastrand::Rng;
use serde_json::{Value, json};

use crate::widgets::{CRDS, condition, crd};

e2e::on_each_cluster! { the_final_state_matches_the_model [Controllers] }

/// The number of seeds for the embedded server, and for a real one, where deleting a namespace takes seconds.
const SEEDS: [u64; 2] = [24, 1];
const CLIENTS: u64 = 4;
const STEPS: usize = 50;
/// The real controllers refresh their list of types only twice a minute, and begin anew if a type vanishes meanwhile.
const SOON: Duration = Duration::from_secs(240);

/// The kind of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    ConfigMap,
    /// An instance of the definition with this index.
    Widget(usize),
}

/// An object that a client has created.
#[derive(Clone, Debug)]
struct Object {
    kind: Kind,
    namespace: usize,
    name: String,
    uid: String,
    owners: Vec<Owner>,
    /// When the request was sent, and when the response arrived.
    created: [u64; 2],
    /// When its deletion was requested, and with which policy.
    deleted: Option<(u64, &'static str)>,
}

#[derive(Clone, Debug)]
enum Owner {
    /// The UID of one of the clients' objects.
    Object(String),
    /// Its index, and when it was looked up.
    Namespace(usize, u64),
    Definition(usize, u64),
}

/// A record of the clients' actions.
#[derive(Debug, Default)]
struct World {
    /// A logical clock.
    now: u64,
    objects: BTreeMap<String, Object>,
    /// When each namespace, and each definition, was last created.
    namespaces: [u64; 2],
    definitions: [u64; 2],
}

impl World {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    /// Reports whether only a deletion that a client requested can have removed the object.
    fn is_stable(&self, object: &Object) -> bool {
        let [sent, answered] = object.created;
        let in_place = self.namespaces[object.namespace] < sent
            && match object.kind {
                Kind::ConfigMap => true,
                Kind::Widget(definition) => self.definitions[definition] < sent,
            };
        let stays = |owner: &Owner| match owner {
            Owner::Namespace(namespace, seen) => self.namespaces[*namespace] < *seen,
            Owner::Definition(definition, seen) => self.definitions[*definition] < *seen,
            Owner::Object(uid) => self.must_exist(&self.objects[uid]),
        };
        // The object already existed when this owner was deleted with the policy Orphan.
        let orphaned = |owner: &Owner| match owner {
            Owner::Object(uid) => {
                let owner = &self.objects[uid];
                let left = owner.deleted.is_some_and(|(at, how)| how == "Orphan" && answered < at);
                left && self.is_stable(owner)
            }
            _ => false,
        };
        let owners = &object.owners;
        in_place && (owners.is_empty() || owners.iter().any(stays) || owners.iter().all(orphaned))
    }

    fn must_exist(&self, object: &Object) -> bool {
        object.deleted.is_none() && self.is_stable(object)
    }
}

/// The state that the clients share, and the names that they use.
struct Arena {
    http: Http,
    namespaces: [String; 2],
    groups: [String; 2],
    world: Mutex<World>,
}

async fn the_final_state_matches_the_model(cluster: Cluster) -> Result<()> {
    let version = cluster.admin().get("/version").await?.code(200)?;
    let embedded = version["gitVersion"].as_str().is_some_and(|it| it.contains("kube-embedded"));
    for seed in 0..SEEDS[usize::from(!embedded)] {
        let arena = Arc::new(Arena {
            http: cluster.admin(),
            namespaces: ["a", "b"].map(|name| format!("{}-{seed}{name}", cluster.namespace())),
            groups: ["a", "b"].map(|name| format!("{name}{seed}.{}", cluster.unique())),
            world: Mutex::default(),
        });
        arena.run(seed).await.with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

impl Arena {
    async fn run(self: &Arc<Self>, seed: u64) -> Result<()> {
        for which in 0..2 {
            self.create_namespace(which).await?;
            self.create_definition(which).await?;
        }
        let clients = (0..CLIENTS).map(|client| {
            let (arena, mut rng) = (Arc::clone(self), Rng::with_seed(seed * CLIENTS + client));
            tokio::spawn(async move {
                for step in 0..STEPS {
                    arena.step(&mut rng, &format!("{client}-{step}")).await?;
                }
                anyhow::Ok(())
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await??;
        }
        eventually(SOON, || self.check()).await?;
        for (namespace, group) in self.namespaces.iter().zip(&self.groups) {
            self.http.delete(&format!("/api/v1/namespaces/{namespace}")).await?.ok()?;
            self.http.delete(&format!("{CRDS}/widgets.{group}")).await?.ok()?;
        }
        Ok(())
    }

    async fn step(&self, rng: &mut Rng, name: &str) -> Result<()> {
        match rng.u8(..100) {
            0..45 => self.create(rng, name).await,
            45..65 => self.touch(rng).await,
            65..90 => self.delete(rng).await,
            90..96 => self.change_definition(rng, name).await,
            96..98 => self.renew_definition(rng.usize(..2)).await,
            _ => self.renew_namespace(rng.usize(..2)).await,
        }
    }

    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) -> u64 {
        self.world().tick()
    }

    fn kind(&self, kind: Kind) -> (String, &'static str) {
        match kind {
            Kind::ConfigMap => ("v1".to_owned(), "ConfigMap"),
            Kind::Widget(which) => (format!("{}/v1", self.groups[which]), "Widget"),
        }
    }

    fn path(&self, kind: Kind, namespace: usize) -> String {
        let namespace = &self.namespaces[namespace];
        match kind {
            Kind::ConfigMap => format!("/api/v1/namespaces/{namespace}/configmaps"),
            Kind::Widget(which) => {
                format!("/apis/{}/v1/namespaces/{namespace}/widgets", self.groups[which])
            }
        }
    }

    /// Picks a random object that no client has deleted yet.
    fn any(&self, rng: &mut Rng, namespace: Option<usize>) -> Option<Object> {
        let world = self.world();
        let known = world.objects.values().filter(|object| object.deleted.is_none());
        let known: Vec<_> =
            known.filter(|object| namespace.is_none_or(|it| it == object.namespace)).collect();
        rng.choice(known).cloned()
    }

    async fn create(&self, rng: &mut Rng, name: &str) -> Result<()> {
        let kind = [Kind::ConfigMap, Kind::Widget(0), Kind::Widget(1)][rng.usize(..3)];
        let namespace = rng.usize(..2);
        let (mut owners, mut references) = (Vec::new(), Vec::new());
        for _ in 0..rng.usize(..3) {
            let (owner, reference) = match rng.u8(..8) {
                0 => self.definition_as_owner(rng.usize(..2)).await?,
                1 => self.namespace_as_owner(rng.usize(..2)).await?,
                _ => match self.any(rng, Some(namespace)) {
                    Some(object) => {
                        let (api_version, kind) = self.kind(object.kind);
                        let reference = reference(&api_version, kind, &object.name, &object.uid);
                        (Some(Owner::Object(object.uid)), reference)
                    }
                    None => continue,
                },
            };
            let Some(owner) = owner else { continue };
            if !references.iter().any(|other: &Value| other["uid"] == reference["uid"]) {
                let mut reference = reference;
                reference["blockOwnerDeletion"] = rng.bool().into();
                owners.push(owner);
                references.push(reference);
            }
        }
        let (api_version, word) = self.kind(kind);
        let mut object = json!({
            "apiVersion": api_version, "kind": word,
            "metadata": {"name": format!("o-{name}"), "ownerReferences": references},
        });
        if let Kind::Widget(_) = kind {
            object["spec"] = json!({"size": "small"});
        }
        let sent = self.tick();
        let reply = self.http.post(&self.path(kind, namespace), &object).await?;
        // Its namespace or its definition was deleted or is being deleted.
        if reply.code != 201 {
            ensure!(matches!(reply.code, 403 | 404 | 429 | 503), "{reply:?}");
            return Ok(());
        }
        let text = |field: &str| reply.body["metadata"][field].as_str().unwrap_or_default().to_owned();
        let (uid, name) = (text("uid"), text("name"));
        let mut world = self.world();
        let created = [sent, world.tick()];
        let object = Object { kind, namespace, name, uid: uid.clone(), owners, created, deleted: None };
        world.objects.insert(uid, object);
        Ok(())
    }

    async fn definition_as_owner(&self, which: usize) -> Result<(Option<Owner>, Value)> {
        let name = format!("widgets.{}", self.groups[which]);
        let (path, kind) = (format!("{CRDS}/{name}"), "CustomResourceDefinition");
        self.owner(Owner::Definition(which, self.tick()), &path, "apiextensions.k8s.io/v1", kind, &name).await
    }

    async fn namespace_as_owner(&self, which: usize) -> Result<(Option<Owner>, Value)> {
        let name = &self.namespaces[which];
        let path = format!("/api/v1/namespaces/{name}");
        self.owner(Owner::Namespace(which, self.tick()), &path, "v1", "Namespace", name).await
    }

    async fn owner(
        &self,
        owner: Owner,
        path: &str,
        api_version: &str,
        kind: &str,
        name: &str,
    ) -> Result<(Option<Owner>, Value)> {
        let reply = self.http.get(path).await?;
        let uid = reply.body["metadata"]["uid"].as_str().filter(|_| reply.code == 200);
        Ok((uid.map(|_| owner), reference(api_version, kind, name, uid.unwrap_or_default())))
    }

    async fn touch(&self, rng: &mut Rng) -> Result<()> {
        let Some(object) = self.any(rng, None) else { return Ok(()) };
        let path = format!("{}/{}", self.path(object.kind, object.namespace), object.name);
        let patch = json!({"metadata": {"labels": {"touched": rng.u16(..).to_string()}}});
        let reply = self.http.patch(&path, MERGE_PATCH, &patch).await?;
        ensure!(matches!(reply.code, 200 | 404 | 409 | 429 | 503), "{reply:?}");
        Ok(())
    }

    async fn delete(&self, rng: &mut Rng) -> Result<()> {
        let Some(object) = self.any(rng, None) else { return Ok(()) };
        let how = ["Background", "Foreground", "Orphan"][rng.usize(..3)];
        {
            let mut world = self.world();
            let at = world.tick();
            let known = world.objects.get_mut(&object.uid).context("it is known")?;
            // Another client was faster.
            if known.deleted.is_some() {
                return Ok(());
            }
            known.deleted = Some((at, how));
        }
        let path = format!("{}/{}", self.path(object.kind, object.namespace), object.name);
        let options = json!({"propagationPolicy": how, "preconditions": {"uid": object.uid}});
        // A real server may fail requests while it reloads a changed definition.
        eventually(SOON, || async {
            let reply = self.http.delete_with(&path, &options).await?;
            ensure!(matches!(reply.code, 200 | 404 | 409), "{reply:?}");
            Ok(())
        })
        .await
    }

    /// Changes the name of a column, and whether the second version is served.
    async fn change_definition(&self, rng: &mut Rng, name: &str) -> Result<()> {
        let path = format!("{CRDS}/widgets.{}", self.groups[rng.usize(..2)]);
        let patch = json!([
            {"op": "replace", "path": "/spec/versions/0/additionalPrinterColumns/0/name", "value": format!("c-{name}")},
            {"op": "replace", "path": "/spec/versions/1/served", "value": rng.bool()},
        ]);
        let reply = self.http.patch(&path, JSON_PATCH, &patch).await?;
        ensure!(matches!(reply.code, 200 | 404 | 409), "{reply:?}");
        Ok(())
    }

    async fn renew_definition(&self, which: usize) -> Result<()> {
        let path = format!("{CRDS}/widgets.{}", self.groups[which]);
        self.end(&path).await?;
        self.create_definition(which).await
    }

    async fn create_definition(&self, which: usize) -> Result<()> {
        let mut definition = crd(&self.groups[which]);
        let versions = definition["spec"]["versions"].as_array_mut().context("versions")?;
        let mut second = versions[0].clone();
        second["name"] = "v2".into();
        second["storage"] = false.into();
        versions.push(second);
        let reply = self.http.post(CRDS, &definition).await?;
        // Another client was faster.
        ensure!(matches!(reply.code, 201 | 409), "{reply:?}");
        let path = format!("{CRDS}/widgets.{}", self.groups[which]);
        eventually(SOON, || async {
            let reply = self.http.get(&path).await?;
            // Another client may have deleted it again.
            ensure!(reply.code == 404 || condition(&reply.body, "Established") == "True", "{reply:?}");
            Ok(())
        })
        .await?;
        let mut world = self.world();
        world.definitions[which] = world.tick();
        Ok(())
    }

    async fn renew_namespace(&self, which: usize) -> Result<()> {
        let path = format!("/api/v1/namespaces/{}", self.namespaces[which]);
        self.end(&path).await?;
        self.create_namespace(which).await
    }

    /// Deletes an object, and waits until it is gone or replaced by a new one of the same name.
    async fn end(&self, path: &str) -> Result<()> {
        self.http.delete(path).await?;
        eventually(SOON, || async {
            let reply = self.http.get(path).await?;
            ensure!(reply.body["metadata"]["deletionTimestamp"].is_null(), "{reply:?}");
            Ok(())
        })
        .await
    }

    async fn create_namespace(&self, which: usize) -> Result<()> {
        let body =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespaces[which]}});
        let reply = self.http.post("/api/v1/namespaces", &body).await?;
        // Another client was faster.
        ensure!(matches!(reply.code, 201 | 409), "{reply:?}");
        let mut world = self.world();
        world.namespaces[which] = world.tick();
        Ok(())
    }

    /// Checks the invariants that hold once the controllers are done.
    async fn check(&self) -> Result<()> {
        let mut there = BTreeMap::new();
        for which in 0..2 {
            let name = &self.namespaces[which];
            let namespace = self.http.get(&format!("/api/v1/namespaces/{name}")).await?.code(200)?;
            let definition = format!("{CRDS}/widgets.{}", self.groups[which]);
            let definition = self.http.get(&definition).await?.code(200)?;
            self.check_served(&self.groups[which], &definition).await?;
            for object in [namespace, definition] {
                ensure!(object["metadata"]["deletionTimestamp"].is_null(), "it never ends: {object}");
                there.insert(uid(&object), object);
            }
            for kind in [Kind::ConfigMap, Kind::Widget(0), Kind::Widget(1)] {
                let list = self.http.get(&self.path(kind, which)).await?.code(200)?;
                for object in list["items"].as_array().into_iter().flatten() {
                    let metadata = &object["metadata"];
                    ensure!(metadata["deletionTimestamp"].is_null(), "it never ends: {object}");
                    let one = format!(
                        "{}/{}",
                        self.path(kind, which),
                        metadata["name"].as_str().unwrap_or_default()
                    );
                    let alone = self.http.get(&one).await?.code(200)?;
                    ensure!(alone["metadata"] == *metadata, "{alone} is listed as {object}");
                    there.insert(uid(object), object.clone());
                }
            }
        }
        for object in there.values() {
            let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
            let gone: Vec<_> = owners
                .filter(|owner| !there.contains_key(owner["uid"].as_str().unwrap_or_default()))
                .collect();
            ensure!(gone.is_empty(), "it outlives its owners: {object}");
        }
        let world = self.world();
        for object in world.objects.values().filter(|object| world.must_exist(object)) {
            ensure!(there.contains_key(&object.uid), "nobody deleted it: {object:?}");
        }
        let deleted = world.objects.values().filter(|object| object.deleted.is_some());
        for object in deleted {
            ensure!(!there.contains_key(&object.uid), "it was deleted: {object:?}");
        }
        Ok(())
    }

    /// Checks that the stored definition is the one that is served.
    async fn check_served(&self, group: &str, definition: &Value) -> Result<()> {
        let versions = definition["spec"]["versions"].as_array().context("versions")?;
        for version in versions {
            let path = format!("/apis/{group}/{}/widgets", version["name"].as_str().unwrap_or_default());
            let table = self.http.get_as(&path, "application/json;as=Table;v=v1;g=meta.k8s.io").await?;
            let served = table.code == 200;
            ensure!(version["served"] == served, "{version} is stored: {table:?}");
            let column = &table.body["columnDefinitions"][1]["name"];
            ensure!(
                !served || version["additionalPrinterColumns"][0]["name"] == *column,
                "{version} is stored: {table:?}"
            );
        }
        Ok(())
    }
}

fn reference(api_version: &str, kind: &str, name: &str, uid: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid})
}

fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}
