use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::containers::{logs, recording::Recording};

const KUBECONFIG: &str = r#"{
    "apiVersion": "v1", "kind": "Config", "current-context": "admin",
    "clusters": [{"name": "n", "cluster": {"server": "https://172.17.0.2:6443", "certificate-authority-data": "QQ=="}}],
    "users": [{"name": "u", "user": {"client-certificate-data": "QQ=="}}],
    "contexts": [{"name": "admin", "context": {"cluster": "n", "user": "u"}}]
}"#;

fn place() -> Place {
    Place {
        cluster: "e2e-1".to_owned(),
        name: "e2e-1-control-plane".to_owned(),
        address: "172.17.0.2".to_owned(),
        port: 32768,
        cgroup_v1: false,
    }
}

fn node(version: &str) -> Recording {
    Recording::default()
        .answering("cat /kind/version", &format!("{version}\n"))
        .answering(
            "cat /kind/manifests/default-cni.yaml",
            "subnet: \"{{ .PodSubnet }}\"\nother: {{.PodSubnet}}\n",
        )
        .answering("cat /etc/kubernetes/admin.conf", KUBECONFIG)
        .answering("containerd config dump", "  [plugins.x]\n    snapshotter = 'overlayfs'\n")
        .answering("find /var/log/pods", "/var/log/pods/default_p_1/c/0.log\n")
}

/// Parses the documents of a kubeadm configuration.
fn documents(text: &str) -> Vec<Value> {
    text.split("---\n").map(|document| serde_json::from_str(document).unwrap()).collect()
}

#[tokio::test]
async fn the_steps_are_those_of_kind() {
    for version in ["v1.33.12", "v1.37.0"] {
        let node = node(version);
        let kubeconfig = bring_up(&node, &place(), |_| {}).await.unwrap();
        assert_eq!(
            node.names(),
            [
                "systemctl is-active multi-user.target",
                "cat /kind/version",
                "upload /kind/kubeadm.conf",
                "kubeadm init --config=/kind/kubeadm.conf --skip-phases=preflight --skip-token-print",
                "cat /kind/manifests/default-cni.yaml",
                "upload /kind/network.yaml",
                "kubectl apply --filename=/kind/network.yaml",
                "kubectl apply --filename=/kind/manifests/default-storage.yaml",
                "kubectl taint nodes --all node-role.kubernetes.io/control-plane-",
                "kubectl label nodes --all node.kubernetes.io/exclude-from-external-load-balancers-",
                "cat /etc/kubernetes/admin.conf",
                "kubectl wait --for=condition=Ready node --all --timeout=180s",
                "kubectl --namespace=default get serviceaccount default",
            ]
        );
        assert_eq!(node.uploaded("/kind/network.yaml"), "subnet: \"10.244.0.0/16\"\nother: 10.244.0.0/16\n");
        let server = kubeconfig.clusters[0].cluster.as_ref().unwrap().server.as_deref();
        assert_eq!(server, Some("https://127.0.0.1:32768"));
    }
}

#[tokio::test]
async fn kubeadm_is_configured_as_by_kind() {
    let node = node("v1.37.0");
    bring_up(&node, &place(), |_| {}).await.unwrap();
    assert_eq!(
        documents(&node.uploaded("/kind/kubeadm.conf")),
        [
            json!({
                "apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "ClusterConfiguration",
                "kubernetesVersion": "v1.37.0", "clusterName": "e2e-1",
                "controlPlaneEndpoint": "172.17.0.2:6443",
                "apiServer": {"certSANs": ["localhost", "127.0.0.1", "172.17.0.2"]},
                "controllerManager": {
                    "extraArgs": [{"name": "enable-hostpath-provisioner", "value": "true"}],
                },
                "networking": {"podSubnet": "10.244.0.0/16", "serviceSubnet": "10.96.0.0/16"},
            }),
            json!({
                "apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "InitConfiguration",
                "localAPIEndpoint": {"advertiseAddress": "172.17.0.2", "bindPort": 6443},
                "nodeRegistration": {
                    "criSocket": "unix:///run/containerd/containerd.sock",
                    "kubeletExtraArgs": [
                        {"name": "node-ip", "value": "172.17.0.2"},
                        {"name": "provider-id", "value": "kind://docker/e2e-1/e2e-1-control-plane"},
                    ],
                },
            }),
            json!({
                "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
                "cgroupDriver": "systemd", "cgroupRoot": "/kubelet", "failSwapOn": false,
                "imageGCHighThresholdPercent": 100,
                "evictionHard": {"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
            }),
            json!({
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
                "mode": "iptables", "iptables": {"minSyncPeriod": "1s"}, "conntrack": {"maxPerCore": 0},
            }),
        ]
    );
}

#[tokio::test]
async fn older_versions_use_v1beta3() {
    for (version, api_version) in [
        ("v1.33.12", "kubeadm.k8s.io/v1beta3"),
        ("v1.35.8", "kubeadm.k8s.io/v1beta3"),
        ("v1.36.4", "kubeadm.k8s.io/v1beta4"),
    ] {
        let node = node(version);
        bring_up(&node, &place(), |_| {}).await.unwrap();
        let documents = documents(&node.uploaded("/kind/kubeadm.conf"));
        assert_eq!(documents[0]["apiVersion"], api_version, "{version}");
        assert_eq!(documents[1]["apiVersion"], api_version, "{version}");
        let arguments = &documents[1]["nodeRegistration"]["kubeletExtraArgs"];
        assert_eq!(arguments.is_object(), api_version.ends_with("v1beta3"), "{version}: {arguments}");
    }
}

#[tokio::test]
async fn the_kubelet_is_allowed_to_run_on_cgroup_v1() {
    let node = node("v1.37.0");
    bring_up(&node, &Place { cgroup_v1: true, ..place() }, |_| {}).await.unwrap();
    assert_eq!(documents(&node.uploaded("/kind/kubeadm.conf"))[2]["failCgroupV1"], false);
}

/// Each step in turn fails, and keeps failing: the error names the step, and no other step follows.
#[tokio::test(start_paused = true)]
async fn a_failure_at_each_step_ends_it_there() {
    let all = {
        let node = node("v1.37.0");
        bring_up(&node, &place(), |_| {}).await.unwrap();
        node.names()
    };
    for (index, step) in all.iter().enumerate() {
        let node = node("v1.37.0").failing(step);
        let error = format!("{:#}", bring_up(&node, &place(), |_| {}).await.unwrap_err());
        assert_eq!(node.names(), all[..=index], "{step}");
        assert_eq!(error.lines().count(), 1, "{error}");
        match step.strip_prefix("upload ") {
            None => assert!(error.contains(step) && error.ends_with("what is wrong"), "{error}"),
            Some(_) => assert!(error.ends_with("the engine refuses"), "{error}"),
        }
    }
}

#[tokio::test]
async fn kubeadms_error_is_reported_without_its_advice() {
    let init = "kubeadm init --config=/kind/kubeadm.conf --skip-phases=preflight --skip-token-print";
    let said = "W1123 warning\nerror: error execution phase wait-control-plane: it is not healthy\n\
                To see the stack trace of this error execute with --v=5 or higher\n";
    let node = node("v1.37.0").failing_with(init, said);
    let error = format!("{:#}", bring_up(&node, &place(), |_| {}).await.unwrap_err());
    assert!(
        error.ends_with(": error: error execution phase wait-control-plane: it is not healthy"),
        "{error}"
    );
}

#[tokio::test]
async fn unsupported_kubernetes_versions_are_refused() {
    for version in ["v1.32.0", "v1.38.0", "v2.0.0", "latest", ""] {
        let error = bring_up(&node(version), &place(), |_| {}).await.unwrap_err();
        assert!(format!("{error:#}").contains(version), "{error:#}");
    }
}

#[tokio::test]
async fn an_image_is_loaded_into_containerd() {
    let node = node("v1.37.0");
    load_image(&node, b"archive").await.unwrap();
    assert_eq!(
        node.names(),
        [
            "upload /kind/image.tar",
            "containerd config dump",
            "ctr --namespace=k8s.io images import --all-platforms --digests --snapshotter=overlayfs /kind/image.tar",
            "rm /kind/image.tar",
        ]
    );
    assert_eq!(node.uploaded("/kind/image.tar"), "archive");
}

#[test]
fn the_container_is_started_as_kind_starts_it() {
    let owned = settings("e2e-1", "kindest/node:v1.37.0", Keep::Owned("/tmp/owner"), true);
    assert_eq!(
        owned,
        Settings {
            image: "kindest/node:v1.37.0".to_owned(),
            name: "e2e-1-control-plane".to_owned(),
            labels: BTreeMap::from([("e2e.owner".to_owned(), "/tmp/owner".to_owned())]),
            env: vec![("KUBECONFIG".to_owned(), "/etc/kubernetes/admin.conf".to_owned())],
            arguments: Vec::new(),
            tmpfs: vec!["/run".to_owned(), "/tmp".to_owned()],
            volumes: vec!["/var".to_owned()],
            host_folders: vec!["/lib/modules".to_owned()],
            security: vec!["seccomp=unconfined".to_owned(), "apparmor=unconfined".to_owned()],
            port: 6443,
        }
    );
    let kept = settings("e2e-1", "kindest/node:v1.37.0", Keep::Kept, false);
    let labels = [("io.x-k8s.kind.cluster", "e2e-1"), ("io.x-k8s.kind.role", "control-plane")];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(kept, Settings { labels: labels.into(), host_folders: Vec::new(), ..owned });
}

#[test]
fn a_minor_version_selects_the_image_that_kind_released() {
    let newest = image(None).unwrap();
    assert!(newest.starts_with("kindest/node:v1.37.0@sha256:"), "{newest}");
    assert_eq!(image(Some("1.37")).unwrap(), newest);
    assert_eq!(image(Some("v1.37.0")).unwrap(), newest);
    assert_eq!(image(Some("1.37.2")).unwrap(), "kindest/node:v1.37.2");
    assert!(image(Some("1.33")).unwrap().starts_with("kindest/node:v1.33.12@sha256:"));
    for wrong in ["1.32", "1.38", "2.0", "latest", "", "1"] {
        assert!(image(Some(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn the_snapshotter_is_read_from_the_configuration() {
    assert_eq!(snapshotter("a\n  snapshotter = 'fuse-overlayfs'\n"), "fuse-overlayfs");
    assert_eq!(snapshotter("snapshotter = \"native\""), "native");
    let dump =
        "  [plugins.'images']\n    snapshotter = 'native'\n  [plugins.'runtime']\n    snapshotter = ''\n";
    assert_eq!(snapshotter(dump), "native");
    assert_eq!(snapshotter("snapshotter = ''\nsnapshotter = 'zfs'"), "zfs");
    assert_eq!(snapshotter(""), "overlayfs");
}

#[tokio::test]
async fn available_logs_are_collected() {
    let folder = tempfile::tempdir().unwrap();
    // A node may fail before its kubectl works.
    let node = node("v1.37.0")
        .answering("journalctl --no-pager --unit=kubelet", "the kubelet says\n")
        .answering("cat /var/log/pods/default_p_1/c/0.log", "the pod says\n")
        .failing("kubectl get pods --all-namespaces --output=wide");
    logs::collect(&node, folder.path()).await.unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read("kubelet.log"), "the kubelet says\n");
    assert_eq!(read("pods/default_p_1/c/0.log"), "the pod says\n");
    assert!(read("pods.txt").contains("what is wrong"));
}
