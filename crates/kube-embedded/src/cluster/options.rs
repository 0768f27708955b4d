//! What a server is configured with, apart from its sockets: flags of kube-apiserver.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use kube_validation::go::ip::Cidr;

use super::plugins::Plugins;
use super::service_account::TokenOptions;
use crate::webhook;

#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) tokens: TokenOptions,
    pub(crate) services: ServiceRange,
    pub(crate) plugins: Plugins,
    /// Whether all users may do everything, instead of what RBAC grants them.
    pub(crate) always_allow: bool,
    /// Whether requests without credentials are refused.
    #[cfg(feature = "listen")]
    pub(crate) no_anonymous: bool,
    /// The certificate by which aggregated servers recognize this one.
    pub(crate) proxy_identity: Option<webhook::Identity>,
    /// Whether the controllers of kube-controller-manager do not run.
    pub(crate) no_controllers: bool,
    /// How long after its deletion a namespace's contents are deleted. `None`: at once.
    pub(crate) namespace_deletion_delay: Option<Duration>,
}

/// The addresses that Services get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServiceRange {
    /// The address of the network, which no Service gets.
    pub(super) network: u32,
    /// The last one, which no Service gets either.
    pub(super) broadcast: u32,
    prefix: u8,
}

impl Default for ServiceRange {
    fn default() -> Self {
        Self::new(Ipv4Addr::new(10, 96, 0, 0).into(), 16)
    }
}

impl std::fmt::Display for ServiceRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.network), self.prefix)
    }
}

impl ServiceRange {
    fn new(network: u32, prefix: u8) -> Self {
        Self { network, broadcast: network | u32::MAX.checked_shr(prefix.into()).unwrap_or(0), prefix }
    }

    /// Reads a range like `10.0.0.0/24`, with kube-apiserver's limits: 8 to 1,048,576 addresses.
    ///
    /// # Errors
    /// Fails with the reason.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let cidr = Cidr::parse(text)?.masked();
        let IpAddr::V4(network) = cidr.address else { return Err("only IPv4 is supported".to_owned()) };
        match cidr.length {
            12..=29 => Ok(Self::new(network.into(), cidr.length)),
            ..12 => Err("the range is too large: its mask must be at least 12".to_owned()),
            _ => Err("the range must have at least 8 addresses".to_owned()),
        }
    }

    /// How many addresses at the beginning are kept for Services that request one: KEP-3070.
    pub(super) fn reserved(self) -> u32 {
        let size = self.broadcast - self.network + 1;
        if size < 16 { 0 } else { (size / 16).clamp(16, 256) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_kube_apiservers_limits() {
        let range = ServiceRange::parse("10.0.0.7/24").unwrap();
        assert_eq!((range.to_string().as_str(), range.reserved()), ("10.0.0.0/24", 16));
        assert_eq!(ServiceRange::parse("10.96.0.0/16"), Ok(ServiceRange::default()));
        assert_eq!(ServiceRange::default().reserved(), 256);
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.0/11",
            "10.0.0.0/30",
            "10.0.0.0/33",
            "fd00::/108",
            "10.0.0.0/24,fd00::/108",
        ] {
            assert!(ServiceRange::parse(bad).is_err(), "{bad}");
        }
    }
}
