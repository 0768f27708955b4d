//! Pods on Windows, and what only they have: `validateWindows` and `validateWindowsSecurityContextOptions`.

use serde_json::Value;

use super::errors::{Errors, items};
use kube_validation::{FieldError, FieldPath, names};

const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Checks the fields that the operating system of a Pod does not have.
pub(super) fn system(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    match &spec["os"]["name"] {
        name if *name == "linux" => linux(spec, path, errors),
        name if *name == "windows" => windows(spec, path, errors),
        _ => {}
    }
}

fn linux(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let refuse = |context: &Value, path: &FieldPath<'_>, errors: &mut Errors| {
        if !context["windowsOptions"].is_null() {
            let detail = "windows options cannot be set for a linux pod";
            errors.push(FieldError::forbidden(path.child("windowsOptions"), detail));
        }
    };
    refuse(&spec["securityContext"], &path.child("securityContext"), errors);
    for list in LISTS {
        errors.each(spec, list, path, |container, path, errors| {
            refuse(&container["securityContext"], &path.child("securityContext"), errors);
        });
    }
}

fn windows(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const OF_PODS: [&str; 11] = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "fsGroup",
        "fsGroupChangePolicy",
        "sysctls",
        "runAsUser",
        "runAsGroup",
        "supplementalGroups",
        "supplementalGroupsPolicy",
        "seLinuxChangePolicy",
    ];
    const OF_CONTAINERS: [&str; 10] = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "capabilities",
        "readOnlyRootFilesystem",
        "privileged",
        "allowPrivilegeEscalation",
        "procMount",
        "runAsUser",
        "runAsGroup",
    ];
    let refuse = |object: &Value, fields: &[&str], path: &FieldPath<'_>, errors: &mut Errors| {
        for field in fields.iter().filter(|field| !object[**field].is_null()) {
            errors.push(FieldError::forbidden(path.child(field), "cannot be set for a windows pod"));
        }
    };
    refuse(&spec["securityContext"], &OF_PODS, &path.child("securityContext"), errors);
    refuse(spec, &["hostUsers"], path, errors);
    for field in ["hostPID", "hostIPC"].iter().filter(|field| spec[**field] == true) {
        errors.push(FieldError::forbidden(path.child(field), "cannot be set for a windows pod"));
    }
    refuse(spec, &["shareProcessNamespace"], path, errors);
    for list in LISTS {
        errors.each(spec, list, path, |container, path, errors| {
            refuse(&container["securityContext"], &OF_CONTAINERS, &path.child("securityContext"), errors);
        });
    }
}

/// Checks that all containers of a Pod, or none, are processes of the node.
pub(super) fn host_process(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let of = |object: &Value| object["securityContext"]["windowsOptions"]["hostProcess"].as_bool();
    let (whole, mut count, mut total) = (of(spec), 0, 0);
    for list in LISTS {
        total += items(&spec[list]).len();
        errors.each(spec, list, path, |container, path, errors| {
            let own = of(container);
            if let (Some(whole), Some(own)) = (whole, own)
                && whole != own
            {
                let context = path.child("securityContext");
                let options = context.child("windowsOptions");
                let detail =
                    format!("pod hostProcess value must be identical if both are specified, was {whole}");
                errors.push(FieldError::invalid(options.child("hostProcess"), &own.into(), &detail));
            }
            count += usize::from(own.or(whole) == Some(true));
        });
    }
    if count == 0 {
        return;
    }
    if count != total {
        let detail =
            "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.push(FieldError::invalid(path, &"".into(), detail));
    }
    if spec["hostNetwork"] != true {
        let detail = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.push(FieldError::invalid(path.child("hostNetwork"), &false.into(), detail));
    }
}

/// Checks `windowsOptions` of a Pod or a container.
pub(super) fn options(options: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const MAX_KIB: usize = 64;
    if let Some(name) = options["gmsaCredentialSpecName"].as_str() {
        errors.named(name, names::dns1123_subdomain, path.child("gmsaCredentialSpecName"));
    }
    if let Some(spec) = options["gmsaCredentialSpec"].as_str() {
        let detail = match spec.len() {
            0 => "gmsaCredentialSpec cannot be an empty string".to_owned(),
            length if length > MAX_KIB * 1024 => {
                format!("gmsaCredentialSpec size must be under {MAX_KIB} KiB")
            }
            _ => String::new(),
        };
        if !detail.is_empty() {
            errors.push(FieldError::invalid(path.child("gmsaCredentialSpec"), &spec.into(), &detail));
        }
    }
    if let Some(name) = options["runAsUserName"].as_str() {
        errors.named(name, user_name, path.child("runAsUserName"));
    }
}

/// Returns the problems of the name of a user, which a domain may precede.
fn user_name(name: &str) -> Vec<String> {
    const MAX_DOMAIN: usize = 256;
    const MAX_USER: usize = 104;
    let of_user = |what: &str| format!("runAsUserName's User {what}");
    let of_domain = |what: &str| format!("runAsUserName's Domain {what}");
    let whole = if name.is_empty() {
        "runAsUserName cannot be an empty string"
    } else if name.bytes().any(|c| c.is_ascii_control()) {
        "runAsUserName cannot contain control characters"
    } else if name.matches('\\').count() > 1 {
        "runAsUserName cannot contain more than one backslash"
    } else {
        ""
    };
    if !whole.is_empty() {
        return vec![whole.to_owned()];
    }
    let (domain, user) = match name.split_once('\\') {
        Some((domain, user)) => (Some(domain), user),
        None => (None, name),
    };
    let mut wrong = Vec::new();
    if domain.is_some_and(|domain| domain.len() >= MAX_DOMAIN) {
        wrong.push(of_domain(&format!("length must be under {MAX_DOMAIN} characters")));
    }
    if domain.is_some_and(|domain| !is_net_bios(domain) && !is_domain(domain)) {
        wrong.push(of_domain("doesn't match the NetBios nor the DNS format"));
    }
    match user.len() {
        0 => wrong.push(of_user("cannot be empty")),
        length if length > MAX_USER => {
            wrong.push(of_user(&format!("length must not be longer than {MAX_USER} characters")));
        }
        _ => {}
    }
    if !user.is_empty() && user.bytes().all(|c| c == b'.' || c == b' ') {
        wrong.push(of_user("cannot contain only periods or spaces"));
    }
    if user.contains(|c| r#""/\:;|=,+*?<>@[]"#.contains(c)) {
        wrong.push(of_user(r#"cannot contain the following characters: "/\:;|=,+*?<>@[]"#));
    }
    wrong
}

fn is_net_bios(domain: &str) -> bool {
    let count = domain.chars().count();
    (1..=15).contains(&count) && !domain.starts_with('.') && !domain.contains(|c| r#"\/:*?"<>|"#.contains(c))
}

fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        let is_end = |c: u8| c.is_ascii_alphanumeric();
        (1..=63).contains(&label.len())
            && label.bytes().all(|c| is_end(c) || c == b'-')
            && label.bytes().next().is_some_and(is_end)
            && label.bytes().last().is_some_and(is_end)
    };
    domain.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_users_may_have_a_domain() {
        for good in ["user", r"DOMAIN\user", r"a.example\user", "two words"] {
            assert_eq!(user_name(good), [""; 0], "{good}");
        }
        for (bad, why) in [
            ("", "runAsUserName cannot be an empty string"),
            ("a\u{7}", "runAsUserName cannot contain control characters"),
            (r"a\b\c", "runAsUserName cannot contain more than one backslash"),
            (r".a\b", "runAsUserName's Domain doesn't match the NetBios nor the DNS format"),
            (r"a\..", "runAsUserName's User cannot contain only periods or spaces"),
        ] {
            assert_eq!(user_name(bad), [why], "{bad}");
        }
    }
}
