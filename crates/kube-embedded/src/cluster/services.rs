//! The addresses and ports of Services: requested ones are reserved, missing ones are allocated.
//!
//! Addresses are allocated in order, so that a test gets the same ones each time; kube-apiserver chooses at random.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use kube_validation::FieldError;
use serde_json::{Value, json};

/// `10.96.0.0/16`. The first address belongs to the Service `kubernetes`.
const RANGE: [u32; 2] = [0x0a60_0000, 0x0a60_ffff];
const NODE_PORTS: [u16; 2] = [30000, 32767];
/// The beginning of both ranges is reserved for Services that request a specific value: KEP-3070.
const RESERVED_ADDRESSES: u32 = 256;
const RESERVED_PORTS: u16 = 86;

/// The addresses and ports in use.
#[derive(Debug, Default)]
pub(crate) struct Allocations {
    addresses: HashSet<u32>,
    /// By protocol: two protocols may use the same port number.
    ports: HashSet<(String, u16)>,
    /// Where the search for the next one begins.
    next_address: u32,
    next_port: u16,
}

impl Allocations {
    /// Marks the addresses and ports of a stored Service as used.
    pub(crate) fn note(&mut self, service: &Value) {
        self.addresses.extend(addresses(service));
        self.ports.extend(node_ports(service));
    }

    /// Releases the addresses and ports that a Service had.
    pub(crate) fn release(&mut self, service: &Value) {
        for address in addresses(service) {
            self.addresses.remove(&address);
        }
        for port in node_ports(service) {
            self.ports.remove(&port);
        }
    }

    /// Allocates whatever a Service needs and does not have. Requested values must be free, or belong to its previous
    /// state (`old`). If the Service is then not stored, call [`Allocations::undo`].
    pub(crate) fn allocate(&mut self, service: &mut Value, old: Option<&Value>) -> Result<(), FieldError> {
        if let Some(old) = old {
            self.release(old);
        }
        let result = self.addresses_of(service).and_then(|()| self.ports_of(service));
        match (&result, old) {
            (Ok(()), _) => self.note(service),
            (Err(_), Some(old)) => self.note(old),
            (Err(_), None) => {}
        }
        result
    }

    /// Reverts an allocation.
    pub(crate) fn undo(&mut self, service: &Value, old: Option<&Value>) {
        self.release(service);
        if let Some(old) = old {
            self.note(old);
        }
    }

    fn addresses_of(&mut self, service: &mut Value) -> Result<(), FieldError> {
        let spec = &mut service["spec"];
        if spec["type"] == "ExternalName" {
            return Ok(());
        }
        let asked = spec["clusterIP"].as_str().unwrap_or_default().to_owned();
        let address = match asked.as_str() {
            "" => self.next_address(),
            "None" => "None".to_owned(),
            asked => {
                self.check_address(asked)?;
                asked.to_owned()
            }
        };
        spec["clusterIP"] = address.clone().into();
        spec["clusterIPs"] = json!([address]);
        if spec["ipFamilies"].is_null() {
            spec["ipFamilies"] = json!(["IPv4"]);
        }
        if spec["ipFamilyPolicy"].is_null() {
            let selects = spec["selector"].as_object().is_some_and(|selector| !selector.is_empty());
            let headless = address == "None" && !selects;
            spec["ipFamilyPolicy"] = if headless { "RequireDualStack" } else { "SingleStack" }.into();
            if headless {
                spec["ipFamilies"] = json!(["IPv4", "IPv6"]);
            }
        }
        Ok(())
    }

    fn check_address(&self, asked: &str) -> Result<(), FieldError> {
        let refuse = |why: &str| {
            let detail = format!("failed to allocate IP {asked}: {why}");
            Err(FieldError::invalid("spec.clusterIPs", &json!([asked]), &detail))
        };
        let Ok(address) = asked.parse::<Ipv4Addr>().map(u32::from) else { return Ok(()) };
        if !(RANGE[0] + 1..RANGE[1]).contains(&address) {
            return refuse(&format!(
                "the provided IP ({asked}) is not in the valid range. The range of valid IPs is 10.96.0.0/16"
            ));
        }
        if self.addresses.contains(&address) { refuse("provided IP is already allocated") } else { Ok(()) }
    }

    fn next_address(&mut self) -> String {
        let count = RANGE[1] - RANGE[0] - RESERVED_ADDRESSES;
        for _ in 0..count {
            let address = RANGE[0] + RESERVED_ADDRESSES + self.next_address % count;
            self.next_address = self.next_address.wrapping_add(1);
            if !self.addresses.contains(&address) {
                return Ipv4Addr::from(address).to_string();
            }
        }
        // All addresses are in use.
        "None".to_owned()
    }

    fn ports_of(&mut self, service: &mut Value) -> Result<(), FieldError> {
        let spec = &mut service["spec"];
        let kind = spec["type"].as_str().unwrap_or_default();
        let allocates = kind == "NodePort"
            || kind == "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] != Value::Bool(false);
        let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) else { return Ok(()) };
        let mut taken = HashSet::new();
        for (index, port) in ports.iter_mut().enumerate() {
            let protocol = port["protocol"].as_str().unwrap_or_default().to_owned();
            let asked = port["nodePort"].as_u64().unwrap_or_default();
            if asked == 0 {
                if allocates {
                    let given = self.next_port(&protocol, &taken);
                    port["nodePort"] = given.into();
                    taken.insert((protocol, given));
                }
                continue;
            }
            let refuse = |why: &str| {
                Err(FieldError::invalid(format!("spec.ports[{index}].nodePort"), &asked.into(), why))
            };
            let Ok(number) = u16::try_from(asked) else { continue };
            if !(NODE_PORTS[0]..=NODE_PORTS[1]).contains(&number) {
                return refuse(
                    "provided port is not in the valid range. The range of valid ports is 30000-32767",
                );
            }
            let port = (protocol, number);
            if self.ports.contains(&port) || !taken.insert(port) {
                return refuse("provided port is already allocated");
            }
        }
        Ok(())
    }

    fn next_port(&mut self, protocol: &str, taken: &HashSet<(String, u16)>) -> u16 {
        let count = NODE_PORTS[1] - NODE_PORTS[0] + 1 - RESERVED_PORTS;
        for _ in 0..count {
            let port = NODE_PORTS[0] + RESERVED_PORTS + self.next_port % count;
            self.next_port = (self.next_port + 1) % count;
            let wanted = (protocol.to_owned(), port);
            if !self.ports.contains(&wanted) && !taken.contains(&wanted) {
                return port;
            }
        }
        0
    }
}

fn addresses(service: &Value) -> impl Iterator<Item = u32> {
    let all = service["spec"]["clusterIPs"].as_array().into_iter().flatten();
    all.filter_map(|it| it.as_str()?.parse::<Ipv4Addr>().ok()).map(u32::from)
}

fn node_ports(service: &Value) -> impl Iterator<Item = (String, u16)> {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    ports.filter_map(|port| {
        let number = u16::try_from(port["nodePort"].as_u64()?).ok()?;
        Some((port["protocol"].as_str().unwrap_or("TCP").to_owned(), number))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(spec: &Value) -> Value {
        json!({"spec": spec})
    }

    #[test]
    fn addresses_and_ports_are_given_once() {
        let mut all = Allocations::default();
        let ask = || service(&json!({"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}));
        let (mut one, mut two) = (ask(), ask());
        all.allocate(&mut one, None).unwrap();
        all.allocate(&mut two, None).unwrap();
        assert_eq!(one["spec"]["clusterIP"], "10.96.1.0");
        assert_ne!(one["spec"]["clusterIP"], two["spec"]["clusterIP"]);
        assert_ne!(one["spec"]["ports"][0]["nodePort"], two["spec"]["ports"][0]["nodePort"]);
        let same = one.clone();
        assert!(all.allocate(&mut one.clone(), None).is_err());
        all.allocate(&mut one, Some(&same)).unwrap();
        all.release(&one);
        all.allocate(&mut one, None).unwrap();
    }

    #[test]
    fn an_allocation_that_failed_leaves_no_trace() {
        let mut all = Allocations::default();
        let mut wrong = service(&json!({
            "type": "NodePort", "clusterIP": "10.96.0.7",
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30001}, {"port": 81, "protocol": "TCP", "nodePort": 1}],
        }));
        assert!(all.allocate(&mut wrong, None).is_err());
        assert!(all.addresses.is_empty() && all.ports.is_empty());
    }
}
