use super::*;
use crate::containers::recording::Recording;

const KUBECONFIG: &str = r#"{
    "apiVersion": "v1", "kind": "Config", "current-context": "default",
    "clusters": [{"name": "default", "cluster": {"server": "https://127.0.0.1:6443"}}],
    "users": [{"name": "default", "user": {}}],
    "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}]
}"#;

fn node() -> Recording {
    Recording::default().answering("cat /etc/rancher/k3s/k3s.yaml", KUBECONFIG)
}

#[tokio::test]
async fn the_kubeconfig_is_copied_out_and_the_node_waited_for() {
    let node = node();
    let kubeconfig = bring_up(&node, 32768, |_| {}).await.unwrap();
    assert_eq!(
        node.names(),
        [
            "cat /etc/rancher/k3s/k3s.yaml",
            "kubectl wait --for=condition=Ready node --all --timeout=5s",
            "kubectl --namespace=default get serviceaccount default",
        ]
    );
    let server = kubeconfig.clusters[0].cluster.as_ref().unwrap().server.as_deref();
    assert_eq!(server, Some("https://127.0.0.1:32768"));
}

#[tokio::test(start_paused = true)]
async fn a_failure_at_each_step_ends_it_there() {
    let all = {
        let node = node();
        bring_up(&node, 1, |_| {}).await.unwrap();
        node.names()
    };
    for (index, step) in all.iter().enumerate() {
        let node = node().failing(step);
        let error = format!("{:#}", bring_up(&node, 1, |_| {}).await.unwrap_err());
        assert_eq!(node.names(), all[..=index], "{step}");
        assert!(error.ends_with("what is wrong"), "{error}");
    }
}

#[test]
fn no_folder_of_the_host_is_mounted() {
    let settings = settings("e2e-1", "rancher/k3s:v1.37.1-k3s1", Keep::Owned("/tmp/owner"));
    assert!(settings.host_folders.is_empty());
    assert_eq!((&*settings.name, settings.port), ("e2e-1", 6443));
    assert_eq!(settings.arguments[0], "server");
}

#[test]
fn releases_are_selected_by_version() {
    assert_eq!(image(None).unwrap(), "rancher/k3s:v1.37.1-k3s1");
    assert_eq!(image(Some("1.33")).unwrap(), "rancher/k3s:v1.33.13-k3s2");
    assert_eq!(image(Some("v1.35.8")).unwrap(), "rancher/k3s:v1.35.8-k3s1");
    for wrong in ["1.32", "1.38.0", "1.35", "x"] {
        assert!(image(Some(wrong)).is_err(), "{wrong}");
    }
}
