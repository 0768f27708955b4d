//! Pods with variety, as in a cluster: workloads of several shapes with a few replicas each, which differ in names,
//! addresses, times and identifiers; and images, environments, resources and labels, which differ between workloads.
//!
//! A server sends about 7 kB for each, of which managedFields are a third.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::blogs::event;

/// The number of Pods of each workload.
const REPLICAS: usize = 12;

/// The characters of the suffixes that Kubernetes generates, in order.
const ALPHABET: &[u8] = b"2456789bcdfghjklmnpqrstvwxz";

/// Numbers that depend only on the seed, so that each run has the same Pods.
struct Random(u64);

impl Random {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    fn suffix(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from(ALPHABET[self.below(ALPHABET.len())])).collect()
    }

    fn hex(&mut self, length: usize) -> String {
        let digits: String = (0..length.div_ceil(16)).map(|_| format!("{:016x}", self.next())).collect();
        digits[..length].to_owned()
    }

    fn uid(&mut self) -> String {
        let hex = self.hex(32);
        format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[12..15], &hex[15..18], &hex[18..30])
    }

    fn time(&mut self) -> String {
        let [day, hour, minute, second] = [28, 24, 60, 60].map(|end| self.below(end));
        format!("2026-11-{:02}T{hour:02}:{minute:02}:{second:02}Z", day + 1)
    }
}

/// The kinds of workloads that Pods come from.
#[derive(Clone, Copy)]
enum Owner {
    ReplicaSet,
    StatefulSet,
    Job,
}

/// What the Pods of one workload have in common.
struct Workload {
    owner: Owner,
    owner_uid: String,
    app: String,
    /// The name of the ReplicaSet, StatefulSet or Job.
    name: String,
    hash: String,
    version: String,
    containers: Vec<Value>,
    annotations: BTreeMap<&'static str, String>,
}

fn workload(number: usize) -> Workload {
    let mut random = Random(number as u64);
    let area = random.pick(&["auth", "billing", "catalog", "ledger", "mail", "orders", "payments", "search"]);
    let part = random.pick(&["api", "cache", "indexer", "proxy", "sync", "web", "worker"]);
    // Names sort like the numbers.
    let app = format!("w{number:06}-{area}-{part}");
    let owner = [Owner::ReplicaSet, Owner::ReplicaSet, Owner::StatefulSet, Owner::Job][random.below(4)];
    let hash = random.suffix(10);
    let name = match owner {
        Owner::ReplicaSet => format!("{app}-{hash}"),
        Owner::StatefulSet => app.clone(),
        Owner::Job => format!("{app}-{}", 29_000_000 + random.below(99_999)),
    };
    let version = format!("v{}.{}.{}", random.below(4), random.below(30), random.below(10));
    let sidecar = random.pick(&["istio-proxy", "fluent-bit", "vault-agent"]);
    let names: Vec<&str> = [part, sidecar].into_iter().take(1 + random.below(2)).collect();
    let containers = names.iter().map(|name| container(&mut random, &app, name, &version)).collect();
    let mut annotations = BTreeMap::from([("prometheus.io/scrape", "true".to_owned())]);
    if random.below(2) == 0 {
        annotations.insert("checksum/config", random.hex(64));
    }
    if random.below(3) == 0 {
        annotations.insert("kubectl.kubernetes.io/restartedAt", random.time());
    }
    Workload { owner, owner_uid: random.uid(), app, name, hash, version, containers, annotations }
}

fn container(random: &mut Random, app: &str, name: &str, version: &str) -> Value {
    let values =
        ["info", "debug", "postgres://db.internal:5432/app", "redis.internal", "8080", "eu-central-1"];
    let variables =
        ["LOG_LEVEL", "DATABASE_URL", "REDIS_HOST", "HTTP_PORT", "REGION", "FEATURES", "OTEL_ENDPOINT"];
    let mut env: Vec<Value> = variables[..2 + random.below(6)]
        .iter()
        .map(|name| json!({"name": name, "value": random.pick(&values)}))
        .collect();
    env.push(json!({"name": "POD_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}));
    if random.below(2) == 0 {
        let secret = json!({"key": "token", "name": format!("{app}-secrets")});
        env.push(json!({"name": "TOKEN", "valueFrom": {"secretKeyRef": secret}}));
    }
    let port = 8000 + random.below(100);
    let probe = |path: &str, timeout: usize| {
        json!({
            "failureThreshold": 3, "httpGet": {"path": path, "port": port, "scheme": "HTTP"}, "periodSeconds": 10,
            "successThreshold": 1, "timeoutSeconds": timeout,
        })
    };
    json!({
        "env": env,
        "image": format!("registry.example.com/{}/{name}:{version}", random.pick(&["shop", "core", "data"])),
        "imagePullPolicy": "IfNotPresent",
        "livenessProbe": probe("/healthz", 1 + random.below(5)),
        "name": name,
        "ports": [{"containerPort": port, "name": "http", "protocol": "TCP"}],
        "readinessProbe": probe("/ready", 1),
        "resources": {
            "limits": {"memory": format!("{}Mi", 128 * (1 + random.below(16)))},
            "requests": {"cpu": format!("{}m", 50 * (1 + random.below(20))), "memory": "128Mi"},
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "volumeMounts": [{"mountPath": "/etc/config", "name": "config", "readOnly": true}],
    })
}

/// Returns the name of the Pod with this number. Names sort like the numbers.
pub fn name(number: usize) -> String {
    let Workload { owner, name, .. } = workload(number / REPLICAS);
    let replica = number % REPLICAS;
    match owner {
        Owner::StatefulSet => format!("{name}-{replica:02}"),
        Owner::ReplicaSet | Owner::Job => {
            let first = char::from(ALPHABET[2 * replica]);
            format!("{name}-{first}{}", Random(!(number as u64)).suffix(4))
        }
    }
}

/// Returns the Pod with this number, as a controller creates it and the kubelet reports on it.
pub fn pod(namespace: &str, number: usize) -> Value {
    let workload = workload(number / REPLICAS);
    let Workload { owner, app, name: owner_name, hash, .. } = &workload;
    let name = name(number);
    let (kind, group) = match owner {
        Owner::ReplicaSet => ("ReplicaSet", "apps/v1"),
        Owner::StatefulSet => ("StatefulSet", "apps/v1"),
        Owner::Job => ("Job", "batch/v1"),
    };
    let mut labels = json!({"app.kubernetes.io/name": app, "app.kubernetes.io/version": workload.version});
    match owner {
        Owner::ReplicaSet => labels["pod-template-hash"] = json!(hash),
        Owner::StatefulSet => labels["statefulset.kubernetes.io/pod-name"] = json!(name),
        Owner::Job => labels["batch.kubernetes.io/controller-uid"] = json!(workload.owner_uid),
    }
    let mut random = Random(number as u64 ^ (1 << 40));
    let [a, b] = [random.below(256), random.below(256)];
    let tolerations = ["not-ready", "unreachable"].map(|state| {
        json!({
            "effect": "NoExecute", "key": format!("node.kubernetes.io/{state}"), "operator": "Exists",
            "tolerationSeconds": 300,
        })
    });
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "annotations": workload.annotations,
            "generateName": format!("{owner_name}-"),
            "labels": labels,
            "name": name,
            "namespace": namespace,
            "ownerReferences": [{
                "apiVersion": group, "blockOwnerDeletion": true, "controller": true, "kind": kind, "name": owner_name,
                "uid": workload.owner_uid,
            }],
        },
        "spec": {
            "containers": workload.containers,
            "dnsPolicy": "ClusterFirst",
            "enableServiceLinks": true,
            "nodeName": format!("ip-10-0-{a}-{b}.eu-central-1.compute.internal"),
            "restartPolicy": if matches!(owner, Owner::Job) { "Never" } else { "Always" },
            "schedulerName": "default-scheduler",
            "securityContext": {"fsGroup": 1000 + number / REPLICAS % 50, "runAsNonRoot": true},
            "terminationGracePeriodSeconds": 30,
            "tolerations": tolerations,
            "volumes": [{"configMap": {"defaultMode": 420, "name": format!("{app}-config")}, "name": "config"}],
        },
        "status": status(&workload, &mut random, [a, b]),
    })
}

fn status(workload: &Workload, random: &mut Random, node: [usize; 2]) -> Value {
    let (start, ready) = (random.time(), random.time());
    let condition = |kind: &str, at: &str| json!({"lastProbeTime": null, "lastTransitionTime": at, "status": "True", "type": kind});
    let containers = workload.containers.iter().map(|container| {
        let image = &container["image"];
        json!({
            "containerID": format!("containerd://{}", random.hex(64)),
            "image": image,
            "imageID": format!("registry.example.com/image@sha256:{}", Random(workload.hash.len() as u64).hex(64)),
            "lastState": {},
            "name": container["name"],
            "ready": true,
            "restartCount": random.below(8).saturating_sub(5),
            "started": true,
            "state": {"running": {"startedAt": ready}},
        })
    });
    let containers: Vec<Value> = containers.collect();
    let ip = format!("10.{}.{}.{}", 16 + random.below(16), random.below(256), random.below(256));
    json!({
        "conditions": [
            condition("PodReadyToStartContainers", &start), condition("Initialized", &start),
            condition("Ready", &ready), condition("ContainersReady", &ready), condition("PodScheduled", &start),
        ],
        "containerStatuses": containers,
        "hostIP": format!("10.0.{}.{}", node[0], node[1]),
        "hostIPs": [{"ip": format!("10.0.{}.{}", node[0], node[1])}],
        "phase": "Running",
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "qosClass": "Burstable",
        "startTime": start,
    })
}

/// Returns a line of a watch, as a server writes it, with the Pod at this version.
pub fn watch_line(kind: &str, namespace: &str, number: usize, version: usize) -> Bytes {
    let mut pod = pod(namespace, number);
    let (spec, status) =
        (json!({"f:spec": fields(&pod["spec"])}), json!({"f:status": fields(&pod["status"])}));
    let mut random = Random(number as u64 ^ (1 << 41));
    let managed = |manager: &str, fields: Value, time: String| {
        json!({
            "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields, "manager": manager, "operation": "Update",
            "time": time,
        })
    };
    let created = random.time();
    let metadata = &mut pod["metadata"];
    metadata["creationTimestamp"] = json!(created);
    metadata["generation"] = json!(1);
    metadata["managedFields"] =
        json!([managed("kube-controller-manager", spec, created), managed("kubelet", status, random.time())]);
    metadata["resourceVersion"] = json!(version.to_string());
    metadata["uid"] = json!(random.uid());
    event(kind, &pod)
}

/// Returns the managed fields of a value, much as a server writes them.
fn fields(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            members.iter().map(|(name, value)| (format!("f:{name}"), fields(value))).collect()
        }
        Value::Array(elements) => {
            let element = |(at, element): (usize, &Value)| {
                let name = element["name"].as_str().map_or_else(|| at.to_string(), str::to_owned);
                (format!("k:{{\"name\":\"{name}\"}}"), fields(element))
            };
            elements.iter().enumerate().map(element).collect()
        }
        _ => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    #[test]
    fn names_are_unique_and_sort_like_the_numbers() {
        let names: Vec<String> = (0..1000).map(name).collect();
        assert!(names.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn they_are_pods_of_some_kilobytes_that_differ() {
        let lines: Vec<Bytes> =
            (0..600).map(|number| watch_line("ADDED", "default", number, number + 1)).collect();
        let mean = lines.iter().map(Bytes::len).sum::<usize>() / lines.len();
        assert!((5000..9000).contains(&mean), "{mean}");
        for line in &lines {
            let event: kube::core::WatchEvent<Pod> = serde_json::from_slice(line).unwrap();
            assert!(matches!(event, kube::core::WatchEvent::Added(pod) if pod.spec.is_some()));
        }
        let lengths: std::collections::BTreeSet<usize> = lines.iter().map(Bytes::len).collect();
        assert!(lengths.len() > 100, "{}", lengths.len());
    }
}
