//! Which proxy requests go through.
//!
//! A cluster's `proxy-url` takes precedence. Without one, the variables `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`
//! (or their lower-case variants) are interpreted as Go does; `NO_PROXY` is matched against the API server's host.
//! Source: golang.org/x/net `http/httpproxy`.

use std::net::IpAddr;

use http::Uri;
use ipnet::IpNet;

use crate::environment::Environment;
use crate::error::Error;
use crate::report::{Located, Origin};

/// A proxy, and where it was configured.
pub(crate) type Named = (Uri, Origin);

/// Returns the proxy that the environment configures for `server`.
pub(crate) fn from_environment(environment: &Environment, server: &Uri) -> Result<Option<Named>, Error> {
    let names: [&'static str; 2] = match server.scheme_str() {
        Some("https") => ["HTTPS_PROXY", "https_proxy"],
        _ => ["HTTP_PROXY", "http_proxy"],
    };
    let Some((name, value)) =
        names.into_iter().find_map(|name| environment.var(name).map(|value| (name, value)))
    else {
        return Ok(None);
    };
    let no_proxy = environment.var("NO_PROXY").or_else(|| environment.var("no_proxy")).unwrap_or_default();
    if is_direct(server, no_proxy) {
        return Ok(None);
    }
    // A bare host:port is an http proxy.
    let url = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    match parse(&url) {
        Ok(proxy) => Ok(Some((proxy, Origin::Variable(name.to_owned())))),
        Err(problem) => Err(Error::InvalidVariable { name, problem }),
    }
}

/// Parses the address of a proxy. An error never repeats it, because it may contain a password.
pub(crate) fn parse(url: &str) -> Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|_| "is not the URL of a proxy".to_owned())?;
    match uri.scheme_str() {
        Some("http" | "https" | "socks5" | "socks5h") if uri.host().is_some() => Ok(uri),
        scheme => Err(format!(
            "has the unsupported scheme {:?}, it must be http, https or socks5",
            scheme.unwrap_or_default()
        )),
    }
}

/// Returns the proxy for the report, without user name and password.
pub(crate) fn located((proxy, origin): Named) -> Located {
    let authority = proxy.authority().map_or("", http::uri::Authority::as_str);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Located { value: format!("{}://{host}", proxy.scheme_str().unwrap_or_default()), origin }
}

/// Whether requests to `server` bypass the proxy.
fn is_direct(server: &Uri, no_proxy: &str) -> bool {
    let host = server.host().unwrap_or_default().to_ascii_lowercase();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = server.port_u16().unwrap_or(if server.scheme_str() == Some("https") { 443 } else { 80 });
    let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    no_proxy
        .split(',')
        .map(|entry| entry.trim().to_ascii_lowercase())
        .any(|entry| matches(&entry, host, port, address))
}

fn matches(entry: &str, host: &str, port: u16, address: Option<IpAddr>) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some(network) = network(entry) {
        return address.is_some_and(|address| network.contains(&address));
    }
    let (name, wanted_port) = split_port(entry);
    if name.is_empty() || wanted_port.is_some_and(|wanted| wanted != port.to_string()) {
        return false;
    }
    if let Ok(wanted) = name.parse::<IpAddr>() {
        return address == Some(wanted.to_canonical());
    }
    if address.is_some() {
        return false;
    }
    // `.example.com` and `*.example.com` match subdomains; `example.com` also matches itself.
    let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    match name.strip_prefix('.') {
        Some(_) => host.ends_with(name),
        None => host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')),
    }
}

/// Parses a network. One of IPv4-mapped addresses (`::ffff:10.0.0.0/104`) becomes the IPv4 network.
fn network(entry: &str) -> Option<IpNet> {
    let network: IpNet = entry.parse().ok()?;
    if let IpNet::V6(mapped) = network
        && let Some(address) = mapped.addr().to_ipv4_mapped()
        && let Some(prefix) = mapped.prefix_len().checked_sub(96)
    {
        return IpNet::new(address.into(), prefix).ok();
    }
    Some(network)
}

/// Splits `host:port` and `[v6]:port`. A bare IPv6 address has no port.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    if let Some((name, port)) = entry.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        return (name, Some(port));
    }
    match entry.split_once(':') {
        Some((name, port)) if !port.contains(':') => (name, Some(port).filter(|port| !port.is_empty())),
        _ => (entry, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases from golang.org/x/net's own tests, and ours.
    #[test]
    fn no_proxy_matches_the_requests_host_as_go_does() {
        for (no_proxy, server, direct) in [
            ("", "https://example.com", false),
            ("", "https://localhost:6443", true),
            ("", "https://127.0.0.1:6443", true),
            ("", "https://[::1]:6443", true),
            ("*", "https://example.com", true),
            ("example.com", "https://example.com", true),
            ("example.com", "https://EXAMPLE.com", true),
            ("EXAMPLE.COM", "https://example.com", true),
            ("example.com", "https://api.example.com", true),
            ("example.com", "https://notexample.com", false),
            (".example.com", "https://example.com", false),
            (".example.com", "https://api.example.com", true),
            ("*.example.com", "https://api.example.com", true),
            ("*.example.com", "https://example.com", false),
            ("example.com:443", "https://example.com", true),
            ("example.com:6443", "https://example.com", false),
            ("example.com:6443", "https://example.com:6443", true),
            ("10.0.0.0/8", "https://10.1.2.3:6443", true),
            ("10.0.0.0/8", "https://11.1.2.3:6443", false),
            ("10.1.2.3", "https://10.1.2.3:6443", true),
            ("10.1.2.3:80", "https://10.1.2.3:6443", false),
            ("::ffff:10.0.0.0/104", "https://10.1.2.3:6443", true),
            ("::/0", "https://10.1.2.3:6443", false),
            ("fd00::/8", "https://[fd00::1]:6443", true),
            ("[fd00::1]:6443", "https://[fd00::1]:6443", true),
            ("fd00::1", "https://[fd00::1]:6443", true),
            ("0.0.1", "https://10.0.0.1", false),
            ("proxy.example", "https://example.com", false),
            (" , example.com ,", "https://example.com", true),
            (":443", "https://example.com", false),
        ] {
            assert_eq!(is_direct(&server.parse().unwrap(), no_proxy), direct, "{no_proxy} {server}");
        }
    }

    fn chosen(variables: &[(&str, &str)], server: &str) -> Option<String> {
        let environment = variables
            .iter()
            .fold(Environment::new("/"), |environment, (name, value)| environment.with_variable(name, value));
        from_environment(&environment, &server.parse().unwrap()).unwrap().map(|(uri, _)| uri.to_string())
    }

    #[test]
    fn the_scheme_of_the_server_chooses_the_variable() {
        let both = [("HTTPS_PROXY", "s.example:1"), ("HTTP_PROXY", "http://h.example:2")];
        assert_eq!(chosen(&both, "https://example.com").as_deref(), Some("http://s.example:1/"));
        assert_eq!(chosen(&both, "http://example.com").as_deref(), Some("http://h.example:2/"));
        assert_eq!(chosen(&[("https_proxy", "l:1")], "https://example.com").as_deref(), Some("http://l:1/"));
        assert_eq!(chosen(&[("HTTPS_PROXY", "")], "https://example.com"), None);
    }

    #[test]
    fn a_bad_variable_is_named_and_its_password_is_not() {
        let environment = Environment::new("/").with_variable("HTTPS_PROXY", "ftp://me:hunter2@proxy");
        let error =
            from_environment(&environment, &"https://example.com".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("HTTPS_PROXY") && error.contains("\"ftp\""), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_password_is_not_displayed() {
        let proxy = "http://me:hunter2@proxy:3128".parse().unwrap();
        assert_eq!(located((proxy, Origin::Option)).value, "http://proxy:3128");
    }
}
