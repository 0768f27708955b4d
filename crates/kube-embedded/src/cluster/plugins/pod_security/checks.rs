//! The checks of the Pod Security Standards, in kube-apiserver's order and words: `k8s.io/pod-security-admission/policy`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use super::policy::{Level, Standard};

/// What a Pod does that its namespace forbids.
#[derive(Debug)]
pub(super) struct Violation {
    pub(super) reason: String,
    detail: String,
}

/// What is checked: the metadata and the spec of a Pod or a template, by the rules of a minor version.
struct Pod<'a> {
    annotations: &'a Value,
    spec: &'a Value,
    minor: u32,
}

type Check = fn(&Pod<'_>) -> Option<Violation>;

/// The checks of the level baseline: the minor versions in which they begin, and from which on one of the level restricted
/// replaces them there.
const BASELINE: [(u32, Option<u32>, Check); 12] = [
    (0, None, app_armor),
    (0, Some(22), capabilities),
    (0, None, host_namespaces),
    (0, Some(0), host_paths),
    (0, None, host_ports),
    (34, None, hosts_of_probes),
    (0, None, privileged),
    (0, Some(35), proc_mount_without_user_namespace),
    (0, None, se_linux),
    (0, Some(19), seccomp),
    (0, None, sysctls),
    (0, None, host_process),
];

/// What the level restricted checks in addition, and the minor versions in which that begins.
const RESTRICTED: [(u32, Check); 7] = [
    (8, privilege_escalation),
    (22, restricted_capabilities),
    (35, proc_mount),
    (0, volume_types),
    (0, non_root),
    (23, user),
    (19, restricted_seccomp),
];

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The kernel parameters that a Pod may set, with the minor versions from which on it may.
const SYSCTLS: [(&str, u32); 14] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
    ("net.ipv4.tcp_slow_start_after_idle", 37),
    ("net.ipv4.tcp_notsent_lowat", 37),
];

const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// What a Pod does that a standard forbids. `pod` may be a template.
pub(super) fn violations(standard: Standard, pod: &Value) -> Vec<Violation> {
    let minor = standard.version.0;
    let pod = Pod { annotations: &pod["metadata"]["annotations"], spec: &pod["spec"], minor };
    let is_restricted = standard.level == Level::Restricted;
    let baseline = BASELINE.iter().filter(|(since, replaced, _)| {
        let is_replaced = is_restricted && replaced.is_some_and(|replaced| replaced <= minor);
        standard.level >= Level::Baseline && *since <= minor && !is_replaced
    });
    let restricted = RESTRICTED.iter().filter(|(since, _)| is_restricted && *since <= minor);
    let checks = baseline.map(|(_, _, check)| check).chain(restricted.map(|(_, check)| check));
    checks.filter_map(|check| check(&pod)).collect()
}

/// Violations as one text: `host namespaces (hostPID=true), privileged (…)`.
pub(super) fn details(violations: &[Violation]) -> String {
    let all = violations.iter().map(|violation| match violation.detail.as_str() {
        "" => violation.reason.clone(),
        detail => format!("{} ({detail})", violation.reason),
    });
    all.collect::<Vec<_>>().join(", ")
}

impl<'a> Pod<'a> {
    fn containers(&self) -> impl Iterator<Item = &'a Value> {
        let lists = ["initContainers", "containers", "ephemeralContainers"].into_iter();
        let spec = self.spec;
        lists.filter_map(move |list| spec[list].as_array()).flatten()
    }

    /// The names of the containers for which something holds, in order.
    fn containers_with(&self, mut holds: impl FnMut(&'a Value) -> bool) -> Vec<&'a str> {
        self.containers().filter(|container| holds(container)).map(name).collect()
    }

    /// The field of the Pod's own `securityContext`.
    fn security(&self, field: &str) -> &'a Value {
        &self.spec["securityContext"][field]
    }

    fn is_windows(&self) -> bool {
        self.minor >= 25 && self.spec["os"]["name"] == "windows"
    }

    /// Whether the users in the containers are not those of the node.
    fn has_own_users(&self) -> bool {
        self.minor >= 35 && self.spec["hostUsers"] == false
    }

    /// Who sets a value of a `securityContext`: the Pod and some containers, if they do.
    fn setters(&self, mut is_set: impl FnMut(&'a Value) -> bool) -> Option<String> {
        let own = is_set(&self.spec["securityContext"]).then(|| "pod".to_owned());
        let containers = self.containers_with(|container| is_set(&container["securityContext"]));
        let containers = (!containers.is_empty()).then(|| counted("container", &containers));
        let all: Vec<_> = own.into_iter().chain(containers).collect();
        (!all.is_empty()).then(|| all.join(" and "))
    }
}

fn name(of: &Value) -> &str {
    of["name"].as_str().unwrap_or_default()
}

fn violation(reason: impl Into<String>, detail: impl Into<String>) -> Option<Violation> {
    Some(Violation { reason: reason.into(), detail: detail.into() })
}

fn plural(what: &str, count: usize) -> String {
    if count == 1 { what.to_owned() } else { format!("{what}s") }
}

fn quoted<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    let names = names.into_iter().map(|name| format!("\"{}\"", name.as_ref()));
    names.collect::<Vec<_>>().join(", ")
}

/// `container "a"`, or `containers "a", "b"`
fn counted(what: &str, names: &[&str]) -> String {
    format!("{} {}", plural(what, names.len()), quoted(names))
}

fn uses(count: usize) -> &'static str {
    if count == 1 { "uses" } else { "use" }
}

fn text(value: &Value) -> Option<&str> {
    value.as_str()
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn app_armor(pod: &Pod<'_>) -> Option<Violation> {
    let mut bad = BTreeSet::new();
    let setters = pod.setters(|context| {
        let profile = &context["appArmorProfile"];
        let kind = text(&profile["type"]).unwrap_or_default();
        let is_bad = profile.is_object() && !matches!(kind, "RuntimeDefault" | "Localhost");
        if is_bad {
            bad.insert(kind.to_owned());
        }
        is_bad
    });
    let annotations = pod.annotations.as_object().into_iter().flatten();
    let annotations = annotations.filter_map(|(name, value)| {
        let value = value.as_str()?;
        let is_bad = name.starts_with("container.apparmor.security.beta.kubernetes.io/")
            && !(value.is_empty() || value == "runtime/default" || value.starts_with("localhost/"));
        is_bad.then(|| format!("{name}={value:?}"))
    });
    let annotations: BTreeSet<_> = annotations.collect();
    let named = (!annotations.is_empty()).then(|| plural("annotation", annotations.len()));
    let setters: Vec<_> = setters.into_iter().chain(named).collect();
    if setters.is_empty() {
        return None;
    }
    let values: Vec<_> = bad.into_iter().chain(annotations).collect();
    violation(
        plural("forbidden AppArmor profile", values.len()),
        format!("{} must not set AppArmor profile type to {}", setters.join(" and "), quoted(values)),
    )
}

fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    let (containers, added) = added_capabilities(pod, &CAPABILITIES);
    if containers.is_empty() {
        return None;
    }
    let containers = counted("container", &containers);
    violation(
        "non-default capabilities",
        format!("{containers} must not include {} in securityContext.capabilities.add", quoted(added)),
    )
}

/// The containers that add other capabilities, and those.
fn added_capabilities<'a>(pod: &Pod<'a>, allowed: &[&str]) -> (Vec<&'a str>, BTreeSet<&'a str>) {
    let mut added = BTreeSet::new();
    let containers = pod.containers_with(|container| {
        let bad = texts(&container["securityContext"]["capabilities"]["add"]);
        let bad: Vec<_> = bad.filter(|it| !allowed.contains(it)).collect();
        added.extend(&bad);
        !bad.is_empty()
    });
    (containers, added)
}

fn host_namespaces(pod: &Pod<'_>) -> Option<Violation> {
    let set = ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|field| pod.spec[*field] == true);
    let set: Vec<_> = set.map(|field| format!("{field}=true")).collect();
    if set.is_empty() { None } else { violation("host namespaces", set.join(", ")) }
}

fn host_paths(pod: &Pod<'_>) -> Option<Violation> {
    let volumes = pod.spec["volumes"].as_array().into_iter().flatten();
    let names: Vec<_> = volumes.filter(|volume| !volume["hostPath"].is_null()).map(name).collect();
    if names.is_empty() { None } else { violation("hostPath volumes", counted("volume", &names)) }
}

fn host_ports(pod: &Pod<'_>) -> Option<Violation> {
    let mut ports = BTreeSet::new();
    let containers = pod.containers_with(|container| {
        let own = container["ports"].as_array().into_iter().flatten();
        let own = own.filter_map(|port| port["hostPort"].as_i64()).filter(|port| *port != 0);
        let own: Vec<_> = own.map(|port| port.to_string()).collect();
        let is_bad = !own.is_empty();
        ports.extend(own);
        is_bad
    });
    if containers.is_empty() {
        return None;
    }
    let (using, what) = (uses(containers.len()), plural("hostPort", ports.len()));
    let ports = ports.into_iter().collect::<Vec<_>>().join(", ");
    violation("hostPort", format!("{} {using} {what} {ports}", counted("container", &containers)))
}

fn hosts_of_probes(pod: &Pod<'_>) -> Option<Violation> {
    let mut hosts = BTreeSet::<&str>::new();
    let containers = pod.containers_with(|container| {
        let lifecycle = &container["lifecycle"];
        let handlers = [
            &container["livenessProbe"],
            &container["readinessProbe"],
            &container["startupProbe"],
            &lifecycle["postStart"],
            &lifecycle["preStop"],
        ];
        let own = handlers.into_iter().flat_map(|it| [&it["httpGet"]["host"], &it["tcpSocket"]["host"]]);
        let own: Vec<_> = own.filter_map(text).filter(|host| !host.is_empty()).collect();
        hosts.extend(&own);
        !own.is_empty()
    });
    if containers.is_empty() {
        return None;
    }
    // They are sorted here, unlike elsewhere.
    let containers: Vec<_> = containers.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let (using, what) = (uses(containers.len()), plural("probe or lifecycle host", hosts.len()));
    violation(
        "probe or lifecycle host",
        format!("{} {using} {what} {}", counted("container", &containers), quoted(hosts)),
    )
}

fn privileged(pod: &Pod<'_>) -> Option<Violation> {
    let containers = pod.containers_with(|container| container["securityContext"]["privileged"] == true);
    if containers.is_empty() {
        return None;
    }
    let containers = counted("container", &containers);
    violation("privileged", format!("{containers} must not set securityContext.privileged=true"))
}

fn proc_mount_without_user_namespace(pod: &Pod<'_>) -> Option<Violation> {
    if pod.has_own_users() { None } else { proc_mount(pod) }
}

fn proc_mount(pod: &Pod<'_>) -> Option<Violation> {
    let mut mounts = BTreeSet::new();
    let containers = pod.containers_with(|container| {
        let mount = text(&container["securityContext"]["procMount"]).filter(|mount| *mount != "Default");
        mounts.extend(mount);
        mount.is_some()
    });
    if containers.is_empty() {
        return None;
    }
    let containers = counted("container", &containers);
    violation(
        "procMount",
        format!("{containers} must not set securityContext.procMount to {}", quoted(mounts)),
    )
}

fn se_linux(pod: &Pod<'_>) -> Option<Violation> {
    let (mut types, mut has_user, mut has_role) = (BTreeSet::new(), false, false);
    let setters = pod.setters(|context| {
        let own = |field: &str| text(&context["seLinuxOptions"][field]).unwrap_or_default();
        let kind = own("type");
        let is_known = matches!(kind, "" | "container_t" | "container_init_t" | "container_kvm_t")
            || kind == "container_engine_t" && pod.minor >= 31;
        if !is_known {
            types.insert(kind);
        }
        let (user, role) = (!own("user").is_empty(), !own("role").is_empty());
        has_user |= user;
        has_role |= role;
        !is_known || user || role
    })?;
    let types: Vec<_> = types.into_iter().collect();
    let types = (!types.is_empty()).then(|| counted("type", &types));
    let user = has_user.then(|| "user may not be set".to_owned());
    let role = has_role.then(|| "role may not be set".to_owned());
    let bad: Vec<_> = types.into_iter().chain(user).chain(role).collect();
    violation(
        "seLinuxOptions",
        format!("{setters} set forbidden securityContext.seLinuxOptions: {}", bad.join("; ")),
    )
}

fn seccomp(pod: &Pod<'_>) -> Option<Violation> {
    if pod.minor < 19 {
        return seccomp_annotations(pod);
    }
    let mut bad = BTreeSet::new();
    let setters = pod.setters(|context| {
        let profile = &context["seccompProfile"];
        let is_bad = profile.is_object() && !is_confined(profile);
        if is_bad {
            bad.insert(text(&profile["type"]).unwrap_or_default());
        }
        is_bad
    })?;
    violation(
        "seccompProfile",
        format!("{setters} must not set securityContext.seccompProfile.type to {}", quoted(bad)),
    )
}

fn seccomp_annotations(pod: &Pod<'_>) -> Option<Violation> {
    let of_containers =
        pod.containers().map(|it| format!("container.seccomp.security.alpha.kubernetes.io/{}", name(it)));
    let names = std::iter::once("seccomp.security.alpha.kubernetes.io/pod".to_owned()).chain(of_containers);
    let bad: BTreeSet<_> = names
        .filter_map(|name| {
            let value = text(&pod.annotations[&name])?;
            let is_good =
                matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/");
            (!is_good).then(|| format!("{name}={value:?}"))
        })
        .collect();
    if bad.is_empty() {
        return None;
    }
    let what = plural("annotation", bad.len());
    violation(
        "seccompProfile",
        format!("forbidden {what} {}", bad.into_iter().collect::<Vec<_>>().join(", ")),
    )
}

/// Whether a profile of seccomp confines a container.
fn is_confined(profile: &Value) -> bool {
    matches!(text(&profile["type"]), Some("RuntimeDefault" | "Localhost"))
}

fn sysctls(pod: &Pod<'_>) -> Option<Violation> {
    let allowed = |name: &str| SYSCTLS.iter().any(|(known, since)| *known == name && *since <= pod.minor);
    let set = pod.security("sysctls").as_array().into_iter().flatten().map(name);
    let bad: Vec<_> = set.filter(|name| !allowed(name)).collect();
    if bad.is_empty() { None } else { violation("forbidden sysctls", bad.join(", ")) }
}

fn host_process(pod: &Pod<'_>) -> Option<Violation> {
    let setters = pod.setters(|context| context["windowsOptions"]["hostProcess"] == true)?;
    violation(
        "hostProcess",
        format!("{setters} must not set securityContext.windowsOptions.hostProcess=true"),
    )
}

fn privilege_escalation(pod: &Pod<'_>) -> Option<Violation> {
    if pod.is_windows() {
        return None;
    }
    let containers =
        pod.containers_with(|container| container["securityContext"]["allowPrivilegeEscalation"] != false);
    if containers.is_empty() {
        return None;
    }
    let containers = counted("container", &containers);
    violation(
        "allowPrivilegeEscalation != false",
        format!("{containers} must set securityContext.allowPrivilegeEscalation=false"),
    )
}

fn restricted_capabilities(pod: &Pod<'_>) -> Option<Violation> {
    if pod.is_windows() {
        return None;
    }
    let keeping = pod.containers_with(|container| {
        texts(&container["securityContext"]["capabilities"]["drop"]).all(|it| it != "ALL")
    });
    let (adding, added) = added_capabilities(pod, &["NET_BIND_SERVICE"]);
    let mut detail = String::new();
    if !keeping.is_empty() {
        let keeping = counted("container", &keeping);
        // Writing to a text cannot fail.
        let _ = write!(detail, "{keeping} must set securityContext.capabilities.drop=[\"ALL\"]");
    }
    if !adding.is_empty() {
        let between = if detail.is_empty() { "" } else { "; " };
        let (adding, added) = (counted("container", &adding), quoted(added));
        let _ =
            write!(detail, "{between}{adding} must not include {added} in securityContext.capabilities.add");
    }
    if detail.is_empty() { None } else { violation("unrestricted capabilities", detail) }
}

fn volume_types(pod: &Pod<'_>) -> Option<Violation> {
    let (mut names, mut types) = (Vec::new(), BTreeSet::new());
    for volume in pod.spec["volumes"].as_array().into_iter().flatten() {
        let sources = volume.as_object().into_iter().flatten();
        let mut sources = sources.filter(|(field, source)| *field != "name" && !source.is_null());
        let source = sources.next().map(|(field, _)| field.as_str());
        if !source.is_some_and(|source| VOLUMES.contains(&source)) {
            names.push(name(volume));
            types.insert(source.unwrap_or("unknown"));
        }
    }
    if names.is_empty() {
        return None;
    }
    let (using, what) = (uses(names.len()), plural("restricted volume type", types.len()));
    violation(
        "restricted volume types",
        format!("{} {using} {what} {}", counted("volume", &names), quoted(types)),
    )
}

fn non_root(pod: &Pod<'_>) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    if pod.has_own_users() {
        return None;
    }
    if let Some(setters) = pod.setters(|context| context["runAsNonRoot"] == false) {
        return violation(REASON, format!("{setters} must not set securityContext.runAsNonRoot=false"));
    }
    let is_set = pod.security("runAsNonRoot") == true;
    let open = pod.containers_with(|it| !is_set && it["securityContext"]["runAsNonRoot"].is_null());
    if open.is_empty() {
        return None;
    }
    let open = counted("container", &open);
    violation(REASON, format!("pod or {open} must set securityContext.runAsNonRoot=true"))
}

fn user(pod: &Pod<'_>) -> Option<Violation> {
    if pod.has_own_users() {
        return None;
    }
    let setters = pod.setters(|context| context["runAsUser"] == 0)?;
    violation("runAsUser=0", format!("{setters} must not set runAsUser=0"))
}

fn restricted_seccomp(pod: &Pod<'_>) -> Option<Violation> {
    if pod.is_windows() {
        return None;
    }
    if let Some(bad) = seccomp(pod) {
        return Some(bad);
    }
    let is_set = pod.security("seccompProfile").is_object();
    let open = pod.containers_with(|it| !is_set && !it["securityContext"]["seccompProfile"].is_object());
    if open.is_empty() {
        return None;
    }
    let open = counted("container", &open);
    violation(
        "seccompProfile",
        format!(
            "pod or {open} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\""
        ),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::policy::Version;
    use super::*;

    fn found(level: Level, minor: u32, spec: &Value) -> String {
        let standard = Standard { level, version: Version(minor) };
        details(&violations(standard, &json!({"metadata": {}, "spec": spec})))
    }

    fn container(context: &Value) -> Value {
        json!({"containers": [{"name": "a", "securityContext": context}]})
    }

    #[test]
    fn a_version_has_the_checks_that_it_had() {
        let probe = json!({"containers": [{"name": "a", "livenessProbe": {"httpGet": {"host": "h"}}}]});
        assert_eq!(found(Level::Baseline, 33, &probe), "");
        let detail = "probe or lifecycle host (container \"a\" uses probe or lifecycle host \"h\")";
        assert_eq!(found(Level::Baseline, 34, &probe), detail);
        let sysctl = json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}});
        assert_eq!(found(Level::Baseline, 31, &sysctl), "forbidden sysctls (net.ipv4.tcp_rmem)");
        assert_eq!(found(Level::Baseline, 32, &sysctl), "");
    }

    #[test]
    fn a_restricted_check_replaces_that_of_the_baseline() {
        let volumes = json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]});
        assert_eq!(
            found(Level::Restricted, u32::MAX, &json!({"hostPID": true})),
            "host namespaces (hostPID=true)"
        );
        assert_eq!(found(Level::Baseline, 37, &volumes), "hostPath volumes (volume \"v\")");
        let restricted = "restricted volume types (volume \"v\" uses restricted volume type \"hostPath\")";
        assert_eq!(found(Level::Restricted, 37, &volumes), restricted);
        let added = container(&json!({"capabilities": {"add": ["SYS_ADMIN", "CHOWN"]}}));
        let baseline = "non-default capabilities (container \"a\" must not include \"SYS_ADMIN\" in securityContext.capabilities.add)";
        assert_eq!(found(Level::Baseline, 37, &added), baseline);
    }

    #[test]
    fn pods_with_users_of_their_own_may_do_more() {
        let root = json!({
            "hostUsers": false, "securityContext": {"runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}},
        });
        assert_eq!(found(Level::Restricted, 34, &root), "runAsUser=0 (pod must not set runAsUser=0)");
        assert_eq!(found(Level::Restricted, 35, &root), "");
        let unmasked = json!({
            "hostUsers": false, "containers": [{"name": "a", "securityContext": {"procMount": "Unmasked"}}],
        });
        assert_eq!(found(Level::Baseline, 35, &unmasked), "");
        assert!(found(Level::Restricted, 35, &unmasked).contains("procMount (container \"a\" must not set"));
    }
}
