//! What Pods and containers may do: `securityContext`.

use std::collections::HashSet;

use kube_validation::{FieldError, FieldPath};
use serde_json::Value;

use super::errors::{Errors, items, text};
use super::windows;

/// The maximum of IDs of users and groups.
const MAX_ID: i64 = i32::MAX as i64;
const PROFILES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];

/// Checks the `securityContext` of a Pod.
pub(super) fn pod(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let context = &spec["securityContext"];
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        errors.within(&context[field], 0, MAX_ID, path.child(field));
    }
    let groups = path.child("supplementalGroups");
    for (index, group) in items(&context["supplementalGroups"]).iter().enumerate() {
        errors.within(group, 0, MAX_ID, groups.index(index));
    }
    sysctls(spec, &path.child("sysctls"), errors);
    let one_of = |field: &'static str, supported: &[&str], errors: &mut Errors| {
        errors.one_of(&context[field], supported, path.child(field));
    };
    one_of("fsGroupChangePolicy", &["Always", "OnRootMismatch"], errors);
    seccomp(&context["seccompProfile"], &path.child("seccompProfile"), errors);
    windows::options(&context["windowsOptions"], &path.child("windowsOptions"), errors);
    app_armor(&context["appArmorProfile"], &path.child("appArmorProfile"), errors);
    one_of("supplementalGroupsPolicy", &["Merge", "Strict"], errors);
    one_of("seLinuxChangePolicy", &["MountOption", "Recursive"], errors);
}

/// Checks the `securityContext` of a container. `host_users`: whether it shares the users of the node.
pub(super) fn container(context: &Value, host_users: bool, path: &FieldPath<'_>, errors: &mut Errors) {
    for field in ["runAsUser", "runAsGroup"] {
        errors.within(&context[field], 0, MAX_ID, path.child(field));
    }
    let mount = &context["procMount"];
    errors.one_of(mount, &["Default", "Unmasked"], path.child("procMount"));
    if host_users && *mount == "Unmasked" {
        let detail = "`hostUsers` must be false to use `Unmasked`";
        errors.push(FieldError::invalid(path.child("procMount"), mount, detail));
    }
    seccomp(&context["seccompProfile"], &path.child("seccompProfile"), errors);
    if context["allowPrivilegeEscalation"] == false {
        let mut refuse = |what: &str| {
            let detail = format!("cannot set `allowPrivilegeEscalation` to false and {what}");
            errors.push(FieldError::invalid_shown(*path, &shown(context), &detail));
        };
        if context["privileged"] == true {
            refuse("`privileged` to true");
        }
        if items(&context["capabilities"]["add"]).iter().any(|capability| capability == "CAP_SYS_ADMIN") {
            refuse("`capabilities.Add` CAP_SYS_ADMIN");
        }
    }
    windows::options(&context["windowsOptions"], &path.child("windowsOptions"), errors);
    app_armor(&context["appArmorProfile"], &path.child("appArmorProfile"), errors);
}

/// A `SecurityContext` as Go prints it, without what is in its structs.
fn shown(context: &Value) -> String {
    let fields = [
        ("Capabilities", "capabilities"),
        ("Privileged", "privileged"),
        ("SELinuxOptions", "seLinuxOptions"),
        ("WindowsOptions", "windowsOptions"),
        ("RunAsUser", "runAsUser"),
        ("RunAsGroup", "runAsGroup"),
        ("RunAsNonRoot", "runAsNonRoot"),
        ("ReadOnlyRootFilesystem", "readOnlyRootFilesystem"),
        ("AllowPrivilegeEscalation", "allowPrivilegeEscalation"),
        ("ProcMount", "procMount"),
        ("SeccompProfile", "seccompProfile"),
        ("AppArmorProfile", "appArmorProfile"),
    ];
    let fields: Vec<_> = fields.into_iter().map(|(go, json)| format!("\"{go}\":{}", context[json])).collect();
    format!("{{{}}}", fields.join(","))
}

fn sysctls(spec: &Value, list: &FieldPath<'_>, errors: &mut Errors) {
    const REGEX: &str = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
    let mut names = HashSet::new();
    for (index, sysctl) in items(&spec["securityContext"]["sysctls"]).iter().enumerate() {
        let (path, name) = (list.index(index), text(sysctl, "name"));
        if name.is_empty() {
            errors.push(FieldError::required(path.child("name"), ""));
        } else if name.len() > 253 || !name.split(['.', '/']).all(is_part) {
            let detail = format!("must have at most 253 characters and match regex {REGEX}");
            errors.push(FieldError::invalid(path.child("name"), &name.into(), &detail));
        } else if !names.insert(name) {
            errors.push(FieldError::duplicate(path.child("name"), &name.into()));
        }
        // They would be those of the node.
        if let Some(host) = namespace(name).filter(|host| spec[*host] == true) {
            let detail = format!("may not be specified when '{host}' is true");
            errors.push(FieldError::invalid(path.child("name"), &name.into(), &detail));
        }
    }
}

/// Returns the field for sharing the namespace of the node that a sysctl is about.
fn namespace(sysctl: &str) -> Option<&'static str> {
    const IPC: [&str; 10] = [
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "kernel.shm",
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.msg",
    ];
    let name = sysctl.replace('/', ".");
    if name.starts_with("net.") {
        Some("hostNetwork")
    } else if name.starts_with("fs.mqueue.") || IPC.contains(&name.as_str()) {
        Some("hostIPC")
    } else {
        None
    }
}

/// Whether a text is a part of the name of a sysctl.
fn is_part(part: &str) -> bool {
    let is_end = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = part.as_bytes();
    bytes.first().copied().is_some_and(is_end)
        && bytes.last().copied().is_some_and(is_end)
        && bytes.iter().all(|c| is_end(*c) || matches!(c, b'-' | b'_'))
}

fn seccomp(profile: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    if profile.is_null() {
        return;
    }
    let (kind, local, local_path) =
        (text(profile, "type"), &profile["localhostProfile"], path.child("localhostProfile"));
    match kind {
        "" => {
            let detail = "type is required when seccompProfile is set";
            errors.push(FieldError::required(path.child("type"), detail));
        }
        "Localhost" => match local.as_str() {
            None => {
                errors.push(FieldError::required(local_path, "must be set when seccomp type is Localhost"));
            }
            Some(file) => descending(file, &local_path, errors),
        },
        _ if PROFILES.contains(&kind) => {
            if !local.is_null() {
                let given = format!(r#"{{"Type":{},"LocalhostProfile":{local}}}"#, profile["type"]);
                let detail = "can only be set when seccomp type is Localhost";
                errors.push(FieldError::invalid_shown(local_path, &given, detail));
            }
        }
        _ => errors.one_of(&profile["type"], &PROFILES, path.child("type")),
    }
}

fn app_armor(profile: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    if profile.is_null() {
        return;
    }
    let (kind, local, local_path) =
        (text(profile, "type"), &profile["localhostProfile"], path.child("localhostProfile"));
    match kind {
        "" => {
            let detail = "type is required when appArmorProfile is set";
            errors.push(FieldError::required(path.child("type"), detail));
        }
        "Localhost" => {
            match local.as_str() {
                None => errors
                    .push(FieldError::required(local_path, "must be set when AppArmor type is Localhost")),
                Some(name) if name.trim() != name => {
                    errors.push(FieldError::invalid(local_path, local, "must not be padded with whitespace"));
                }
                Some("") => errors
                    .push(FieldError::required(local_path, "must be set when AppArmor type is Localhost")),
                Some(name) if name.len() > 4095 => errors.push(FieldError::too_long(local_path, 4095)),
                Some(_) => {}
            }
        }
        _ if PROFILES.contains(&kind) => {
            if !local.is_null() {
                let detail = "can only be set when AppArmor type is Localhost";
                errors.push(FieldError::invalid(local_path, local, detail));
            }
        }
        _ => errors.one_of(&profile["type"], &PROFILES, path.child("type")),
    }
}

/// Refuses a path that does not lead below where it starts.
pub(super) fn descending(place: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    if place.starts_with('/') {
        errors.push(FieldError::invalid(*path, &place.into(), "must be a relative path"));
    }
    without_parents(place, path, errors);
}

/// Refuses a path with a `..` in it.
pub(super) fn without_parents(place: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    if place.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(*path, &place.into(), "must not contain '..'"));
    }
}
