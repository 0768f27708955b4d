//! The chosen user: whether the entry is valid, and which credentials it provides. Source: client-go
//! `tools/clientcmd/validation.go`, `client_config.go` and `transport`.

use std::collections::HashMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use serde_json::Value;

use crate::chosen::Chosen;
use crate::client::{Auth, TokenFile, exec};
use crate::environment::Environment;
use crate::error::Error;
use crate::model::User;
use crate::report::{AuthMethod, CertificateSource};

/// client-go's `validateAuthInfo`, and the combinations that it rejects later.
pub(crate) fn check(user: &Chosen<'_, User>) -> Result<(), Error> {
    let value = user.value;
    let is_basic = !value.username.is_empty() || !value.password.is_empty();
    if is_basic && (!value.token.is_empty() || !value.token_file.is_empty()) {
        return Err(user.invalid("a token and a user name are both set, but only one is allowed"));
    }
    if has_certificate(value) {
        if !value.client_certificate.is_empty() && !value.client_certificate_data.is_empty() {
            return Err(user.invalid("client-certificate and client-certificate-data are both set"));
        }
        if !value.client_key.is_empty() && !value.client_key_data.is_empty() {
            return Err(user.invalid("client-key and client-key-data are both set"));
        }
        if value.client_key.is_empty() && value.client_key_data.is_empty() {
            return Err(user.invalid("a client certificate is set without client-key or client-key-data"));
        }
        user.readable("client-certificate", &value.client_certificate)?;
        user.readable("client-key", &value.client_key)?;
    }
    if let Some(exec) = &value.exec {
        if value.auth_provider.is_some() {
            return Err(user.invalid("auth-provider and exec are both set"));
        }
        if let Err(problem) = exec::check(exec) {
            return Err(user.invalid(format!("exec: {problem}")));
        }
    }
    let asks_for_more = !value.impersonate_uid.is_empty()
        || !value.impersonate_groups.is_empty()
        || !value.impersonate_user_extra.is_empty();
    if asks_for_more && value.impersonate.is_empty() {
        return Err(user.invalid("as-uid, as-groups or as-user-extra is set without as"));
    }
    Ok(())
}

/// Returns the source of the `Authorization` header, by client-go's precedence: an exec plugin is used only if
/// there is no other credential.
pub(crate) fn auth(
    user: &Chosen<'_, User>,
    cluster: &Value,
    environment: &Environment,
) -> Result<Auth, Error> {
    let value = user.value;
    if !value.token_file.is_empty() {
        let file = TokenFile::new(PathBuf::from(&value.token_file), &value.token);
        // With a token as fallback, the file may appear later.
        if value.token.is_empty() {
            file.token().map_err(|error| match error.into_io() {
                Ok(source) => user.unreadable("tokenFile", &value.token_file, source),
                Err(problem) => user.invalid(format!("tokenFile {problem}")),
            })?;
        }
        return Ok(Auth::token_file(file));
    }
    if !value.token.is_empty() {
        return Auth::bearer(&value.token)
            .ok_or_else(|| user.invalid("token contains a character that is not allowed in a header"));
    }
    if !value.username.is_empty() || !value.password.is_empty() {
        return Ok(Auth::basic(&value.username, &value.password));
    }
    if let Some(provider) = &value.auth_provider {
        let instead = match provider.name.as_str() {
            "gcp" => " (gke-gcloud-auth-plugin)",
            "azure" => " (kubelogin)",
            _ => "",
        };
        return Err(user.invalid(format!(
            "auth-provider {:?} is not supported: use an exec plugin{instead}",
            provider.name
        )));
    }
    match &value.exec {
        Some(exec) if !has_certificate(value) => {
            let cluster = exec.provide_cluster_info.then(|| cluster.clone());
            Ok(Auth::exec(exec::Plugin::new(exec, cluster, environment)))
        }
        _ => Ok(Auth::Anonymous),
    }
}

pub(crate) fn methods(user: &User) -> Vec<AuthMethod> {
    let mut methods = Vec::new();
    if !user.token_file.is_empty() {
        methods.push(AuthMethod::TokenFile(PathBuf::from(&user.token_file)));
    } else if !user.token.is_empty() {
        methods.push(AuthMethod::Token);
    } else if !user.username.is_empty() || !user.password.is_empty() {
        methods.push(AuthMethod::Basic);
    }
    if has_certificate(user) {
        methods.push(AuthMethod::ClientCertificate(match user.client_certificate.as_str() {
            "" => CertificateSource::Inline,
            path => CertificateSource::File(PathBuf::from(path)),
        }));
    }
    if let (Some(exec), true) = (&user.exec, methods.is_empty()) {
        methods.push(AuthMethod::Exec(exec.command.clone()));
    }
    methods
}

/// Describes the user in kube's terms, so that kube's stack does nearly the same as ours.
pub(crate) fn configure(user: &User, cluster: &Value, config: &mut kube::Config) {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let data = |bytes: &[u8]| some(&STANDARD.encode(bytes));
    let info = &mut config.auth_info;
    info.token_file = some(&user.token_file);
    // kube prefers the token, kubectl the file.
    info.token = some(&user.token).filter(|_| user.token_file.is_empty()).map(Into::into);
    info.username = some(&user.username);
    info.password = some(&user.password).map(Into::into);
    info.client_certificate = some(&user.client_certificate);
    info.client_certificate_data = data(&user.client_certificate_data);
    info.client_key = some(&user.client_key).filter(|_| has_certificate(user));
    info.client_key_data = data(&user.client_key_data).filter(|_| has_certificate(user)).map(Into::into);
    // kube's types have the same file format, so they can read what ours write.
    info.exec =
        user.exec.as_ref().filter(|_| methods(user).iter().all(AuthMethod::is_exec)).and_then(|exec| {
            let mut config: kube::config::ExecConfig = serde_json::from_value(exec.to_json()).ok()?;
            config.cluster = serde_json::from_value(cluster.clone()).ok();
            Some(config)
        });
}

pub(crate) fn impersonate(user: &Chosen<'_, User>, config: &mut kube::Config) -> Result<(), Error> {
    let value = user.value;
    if value.impersonate.is_empty() {
        return Ok(());
    }
    let texts = [&value.impersonate, &value.impersonate_uid];
    let texts = texts
        .into_iter()
        .chain(&value.impersonate_groups)
        .chain(value.impersonate_user_extra.values().flatten());
    for text in texts {
        if HeaderValue::from_str(text).is_err() {
            return Err(
                user.invalid(format!("as: {text:?} contains a character that is not allowed in a header"))
            );
        }
    }
    let info = &mut config.auth_info;
    info.impersonate = Some(value.impersonate.clone());
    info.impersonate_uid = Some(value.impersonate_uid.clone()).filter(|uid| !uid.is_empty());
    info.impersonate_groups = Some(value.impersonate_groups.clone()).filter(|groups| !groups.is_empty());
    info.impersonate_user_extra = Some(value.impersonate_user_extra.clone().into_iter().collect())
        .filter(|extra: &HashMap<_, _>| !extra.is_empty());
    Ok(())
}

fn has_certificate(user: &User) -> bool {
    !user.client_certificate.is_empty() || !user.client_certificate_data.is_empty()
}
