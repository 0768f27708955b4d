//! The addresses and ports of Services: requested ones are reserved, missing ones are allocated.
//!
//! Addresses are allocated in order, so that a test gets the same ones each time; kube-apiserver chooses at random.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use kube_validation::FieldError;
use serde_json::{Value, json};

use super::options::ServiceRange;

const NODE_PORTS: [u16; 2] = [30000, 32767];
/// The beginning of this range, and of that of addresses, is reserved for Services that request a specific value:
/// KEP-3070.
const RESERVED_PORTS: u16 = 86;

/// The addresses and ports in use, including those of Services that are about to be stored.
#[derive(Debug, Default)]
pub(crate) struct Allocations {
    range: ServiceRange,
    used: Claims,
    /// Where the search for the next one begins.
    next_address: u32,
    next_port: u16,
}

/// Addresses and node ports.
#[derive(Debug, Default)]
struct Claims {
    addresses: HashSet<u32>,
    /// By protocol: two protocols may use the same port number.
    ports: HashSet<(String, u16)>,
}

/// What a write of a Service changes, to be settled once the write has succeeded or failed.
#[derive(Debug, Default)]
pub(crate) struct Allocation {
    /// Used if the Service is stored.
    added: Claims,
    /// No longer used if the Service is stored.
    dropped: Claims,
}

/// Why a Service gets no allocation.
#[derive(Debug)]
pub(crate) enum AllocationError {
    /// A requested address or port cannot be had.
    Invalid(FieldError),
    /// All are in use: kube-apiserver's message.
    Full(String),
}

impl Claims {
    /// The addresses and ports of a Service.
    fn of(service: &Value) -> Self {
        Self { addresses: addresses(service).collect(), ports: node_ports(service).collect() }
    }

    fn without(&self, other: &Self) -> Self {
        Self {
            addresses: self.addresses.difference(&other.addresses).copied().collect(),
            ports: self.ports.difference(&other.ports).cloned().collect(),
        }
    }
}

impl Allocations {
    pub(crate) fn new(range: ServiceRange) -> Self {
        Self { range, ..Self::default() }
    }

    /// Marks the addresses and ports of a stored Service as used.
    pub(crate) fn note(&mut self, service: &Value) {
        self.add(Claims::of(service));
    }

    /// Releases the addresses and ports that a Service had.
    pub(crate) fn release(&mut self, service: &Value) {
        self.remove(&Claims::of(service));
    }

    /// Allocates whatever a Service needs and does not have. Requested values must be free, or belong to its previous
    /// state (`old`). The caller passes the result to [`Allocations::settle`].
    ///
    /// # Errors
    /// Fails if a requested address or port is in use or out of range, or if all are in use. Then nothing is allocated.
    pub(crate) fn allocate(
        &mut self,
        service: &mut Value,
        old: Option<&Value>,
    ) -> Result<Allocation, AllocationError> {
        let held = old.map(Claims::of).unwrap_or_default();
        self.addresses_of(service, &held)?;
        self.ports_of(service, &held)?;
        let claims = Claims::of(service);
        let allocation = Allocation { added: claims.without(&held), dropped: held.without(&claims) };
        self.add(claims);
        Ok(allocation)
    }

    /// Completes an allocation whose Service was stored, or reverts one whose Service was not.
    pub(crate) fn settle(&mut self, allocation: &Allocation, stored: bool) {
        self.remove(if stored { &allocation.dropped } else { &allocation.added });
    }

    fn add(&mut self, claims: Claims) {
        self.used.addresses.extend(claims.addresses);
        self.used.ports.extend(claims.ports);
    }

    fn remove(&mut self, claims: &Claims) {
        for address in &claims.addresses {
            self.used.addresses.remove(address);
        }
        for port in &claims.ports {
            self.used.ports.remove(port);
        }
    }

    fn addresses_of(&mut self, service: &mut Value, held: &Claims) -> Result<(), AllocationError> {
        let name = service["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let spec = &mut service["spec"];
        if spec["type"] == "ExternalName" {
            return Ok(());
        }
        let asked = spec["clusterIP"].as_str().unwrap_or_default().to_owned();
        let address = match asked.as_str() {
            "" => self.next_address().ok_or_else(|| {
                AllocationError::Full(format!(
                    "failed to allocate a serviceIP for Service {name:?}: range is full"
                ))
            })?,
            "None" => "None".to_owned(),
            asked => {
                self.check_address(asked, held).map_err(AllocationError::Invalid)?;
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

    fn check_address(&self, asked: &str, held: &Claims) -> Result<(), FieldError> {
        let refuse = |why: &str| {
            let detail = format!("failed to allocate IP {asked}: {why}");
            Err(FieldError::invalid("spec.clusterIPs", &json!([asked]), &detail))
        };
        let Ok(address) = asked.parse::<Ipv4Addr>().map(u32::from) else { return Ok(()) };
        let range = self.range;
        // The first address belongs to the Service `kubernetes`.
        if !(range.network + 1..range.broadcast).contains(&address) {
            return refuse(&format!(
                "the provided IP ({asked}) is not in the valid range. The range of valid IPs is {range}"
            ));
        }
        if self.used.addresses.contains(&address) && !held.addresses.contains(&address) {
            return refuse("provided IP is already allocated");
        }
        Ok(())
    }

    fn next_address(&mut self) -> Option<String> {
        let range = self.range;
        let (start, first) = (self.next_address, range.network + range.reserved().max(1));
        let count = range.broadcast - first;
        let upper = (0..count).map(|offset| first + start.wrapping_add(offset) % count);
        // The reserved ones come last.
        let mut all = upper.chain(range.network + 1..first);
        let free = all.find(|address| !self.used.addresses.contains(address))?;
        self.next_address = free.wrapping_sub(first).wrapping_add(1) % count;
        Some(Ipv4Addr::from(free).to_string())
    }

    fn ports_of(&mut self, service: &mut Value, held: &Claims) -> Result<(), AllocationError> {
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
                    let given = self.next_port(&protocol, &taken).ok_or_else(|| {
                        AllocationError::Full("failed to allocate a nodePort: range is full".to_owned())
                    })?;
                    port["nodePort"] = given.into();
                    taken.insert((protocol, given));
                }
                continue;
            }
            let refuse = |why: &str| {
                let error = FieldError::invalid(format!("spec.ports[{index}].nodePort"), &asked.into(), why);
                Err(AllocationError::Invalid(error))
            };
            let Ok(number) = u16::try_from(asked) else { continue };
            if !(NODE_PORTS[0]..=NODE_PORTS[1]).contains(&number) {
                return refuse(
                    "provided port is not in the valid range. The range of valid ports is 30000-32767",
                );
            }
            let port = (protocol, number);
            let is_used = self.used.ports.contains(&port) && !held.ports.contains(&port);
            if is_used || !taken.insert(port) {
                return refuse("provided port is already allocated");
            }
        }
        Ok(())
    }

    fn next_port(&mut self, protocol: &str, taken: &HashSet<(String, u16)>) -> Option<u16> {
        let (first, count) =
            (NODE_PORTS[0] + RESERVED_PORTS, NODE_PORTS[1] - NODE_PORTS[0] + 1 - RESERVED_PORTS);
        let start = self.next_port;
        let upper = (0..count).map(|offset| first + (start + offset) % count);
        // The reserved ones come last.
        let mut all = upper.chain(NODE_PORTS[0]..first);
        let free = all.find(|port| {
            let wanted = (protocol.to_owned(), *port);
            !self.used.ports.contains(&wanted) && !taken.contains(&wanted)
        })?;
        self.next_port = free.wrapping_sub(first).wrapping_add(1) % count;
        Some(free)
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
        assert!(all.used.addresses.is_empty() && all.used.ports.is_empty());
    }

    #[test]
    fn an_allocation_that_is_not_stored_takes_nothing_from_others() {
        let mut all = Allocations::default();
        let port = |number: u16| {
            service(&json!({
                "type": "NodePort", "clusterIP": "10.96.0.7",
                "ports": [{"port": 80, "protocol": "TCP", "nodePort": number}],
            }))
        };
        let mut old = port(30001);
        let stored = all.allocate(&mut old, None).unwrap();
        all.settle(&stored, true);
        // Two writes of the same state: one moves the port and is stored, the other one loses.
        let mut new = port(30002);
        let moved = all.allocate(&mut new, Some(&old)).unwrap();
        let lost = all.allocate(&mut port(30001), Some(&old)).unwrap();
        // Until then both ports are in use.
        for number in [30001, 30002] {
            let mut other = port(number);
            other["spec"]["clusterIP"] = "10.96.0.8".into();
            assert!(all.allocate(&mut other, None).is_err());
        }
        all.settle(&moved, true);
        all.settle(&lost, false);
        let mut other = port(30001);
        other["spec"]["clusterIP"] = "10.96.0.8".into();
        let dry_run = all.allocate(&mut other, None).unwrap();
        all.settle(&dry_run, false);
        all.release(&new);
        assert!(all.used.addresses.is_empty() && all.used.ports.is_empty());
    }

    #[test]
    fn when_all_ports_are_in_use_the_reserved_ones_come_last() {
        let mut all = Allocations::default();
        let ask = || {
            service(
                &json!({"type": "NodePort", "clusterIP": "None", "ports": [{"port": 80, "protocol": "TCP"}]}),
            )
        };
        let ports: Vec<_> = (0..2768)
            .map(|_| {
                let mut service = ask();
                all.allocate(&mut service, None).unwrap();
                service["spec"]["ports"][0]["nodePort"].as_u64().unwrap()
            })
            .collect();
        assert_eq!((ports[0], ports[2681], ports[2682], ports[2767]), (30086, 32767, 30000, 30085));
        let Err(AllocationError::Full(full)) = all.allocate(&mut ask(), None) else { panic!("one more") };
        assert_eq!(full, "failed to allocate a nodePort: range is full");
    }
}
