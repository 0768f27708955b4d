//! Connections to one API server: proxy, TLS, timeouts.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::client::Body;
use percent_encoding::percent_decode_str;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt as _};

use super::identity::Identity;
use super::tls::Trust;

/// Detects dead peers below an idle watch. Source: client-go's dialer.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

pub(super) type Transport = BoxCloneSyncService<Request<Body>, Response<Incoming>, BoxError>;

/// The way to the API server.
pub(super) struct Route {
    pub(super) config: kube::Config,
    pub(super) trust: Trust,
}

impl Route {
    /// Builds connections that use this client certificate.
    pub(super) fn connect(&self, identity: Option<&Identity>) -> Result<Transport, rustls::Error> {
        let mut direct = HttpConnector::new();
        direct.enforce_http(false);
        direct.set_nodelay(true);
        direct.set_keepalive(Some(KEEP_ALIVE));
        let Some(proxy) = &self.config.proxy_url else { return self.over(identity, direct) };
        match proxy.scheme_str() {
            Some("socks5" | "socks5h") => self.over(identity, socks(with_port(proxy, 1080), direct)),
            Some("https") => {
                // The proxy is another server, so it gets neither our certificate nor the API server's name.
                let secure = self.trust.of_proxy().connector(None, direct)?;
                self.over(identity, tunnel(proxy, secure))
            }
            _ => self.over(identity, tunnel(proxy, direct)),
        }
    }

    /// Adds TLS and timeouts to a connector that reaches the server.
    fn over<C>(&self, identity: Option<&Identity>, connector: C) -> Result<Transport, rustls::Error>
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Connection + Read + Write + Send + Unpin + 'static,
        C::Future: Send + 'static,
        C::Error: std::error::Error + Send + Sync + 'static,
    {
        let mut connector = TimeoutConnector::new(self.trust.connector(identity, connector)?);
        connector.set_connect_timeout(self.config.connect_timeout);
        connector.set_read_timeout(self.config.read_timeout);
        connector.set_write_timeout(self.config.write_timeout);
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
        Ok(BoxCloneSyncService::new(client.map_err(BoxError::from)))
    }
}

fn tunnel<C>(proxy: &Uri, connector: C) -> Tunnel<C> {
    let tunnel = Tunnel::new(proxy.clone(), connector);
    let value = user_info(proxy).and_then(|(user, password)| {
        let mut value =
            HeaderValue::try_from(format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))).ok()?;
        value.set_sensitive(true);
        Some(value)
    });
    match value {
        Some(value) => tunnel.with_auth(value),
        None => tunnel,
    }
}

fn socks<C>(proxy: Uri, connector: C) -> SocksV5<C> {
    let auth = user_info(&proxy);
    let socks = SocksV5::new(proxy, connector);
    match auth {
        Some((user, password)) => socks.with_auth(user, password),
        None => socks,
    }
}

/// Returns user name and password of a URL, decoded.
fn user_info(url: &Uri) -> Option<(String, String)> {
    let (info, _) = url.authority()?.as_str().rsplit_once('@')?;
    let (user, password) = info.split_once(':').unwrap_or((info, ""));
    let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some((decode(user), decode(password)))
}

/// Adds a default port to a URL whose scheme is not http or https; those have their own.
fn with_port(url: &Uri, port: u16) -> Uri {
    if url.port().is_some() {
        return url.clone();
    }
    let authority = url.authority().map_or("", http::uri::Authority::as_str);
    format!("{}://{authority}:{port}/", url.scheme_str().unwrap_or_default())
        .parse()
        .unwrap_or_else(|_| url.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_of_proxies_are_decoded() {
        let info = |url: &str| user_info(&url.parse().unwrap());
        assert_eq!(info("http://me:p%40ss@proxy:1"), Some(("me".to_owned(), "p@ss".to_owned())));
        assert_eq!(info("http://me@proxy:1"), Some(("me".to_owned(), String::new())));
        assert_eq!(info("http://proxy:1"), None);
    }

    #[test]
    fn socks_has_its_own_default_port() {
        assert_eq!(with_port(&"socks5://proxy".parse().unwrap(), 1080).to_string(), "socks5://proxy:1080/");
        assert_eq!(with_port(&"socks5://proxy:9".parse().unwrap(), 1080).to_string(), "socks5://proxy:9/");
    }
}
