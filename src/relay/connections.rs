//! The connections a relay has open, in all and by address.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::http::StatusCode;

use super::{Shared, http::Refusal};
use crate::{
    limits,
    trust::quota::{Quota, lowered},
};

/// Those that are open.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    all: AtomicU64,
    by_address: Mutex<BTreeMap<IpAddr, u64>>,
}

impl Connections {
    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }

    /// Counts one more of an address, unless it has as many as it may.
    fn enter(&self, address: IpAddr, max: u64) -> Result<(), u64> {
        let mut addresses = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let open = addresses.get(&address).copied().unwrap_or(0);
        if open >= max {
            return Err(open);
        }
        addresses.insert(address, open + 1);
        self.all.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn leave(&self, address: IpAddr) {
        let mut addresses = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        match addresses.get_mut(&address) {
            Some(open) if *open > 1 => *open -= 1,
            _ => drop(addresses.remove(&address)),
        }
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whoever has one address of IPv6 has a whole network of 64 bits (RFC 6177), and a mapped address is one of IPv4.
fn whose(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address => address,
    }
}

/// # Errors
/// 503 when the relay stops, or has as many connections as it takes; 429 when the caller's address has.
pub(super) fn admit(shared: &Arc<Shared>, address: IpAddr) -> Result<Counted, Refusal> {
    if shared.stopping.load(Ordering::Relaxed) {
        return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, "the relay is shutting down".to_owned()));
    }
    let (open, max) = (shared.connections.count(), shared.connections_max);
    if open >= max as u64 {
        let reason = format!("{open} connections are open, limit {max}");
        return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, reason));
    }
    let address = whose(address);
    let max = lowered(&shared.quotas(), Quota::AddressConnections, limits::ADDRESS_LINKS as u64);
    shared.connections.enter(address, max).map_err(|open| {
        let reason = format!("{open} connections from {address} are open, limit {max}");
        Refusal(StatusCode::TOO_MANY_REQUESTS, reason)
    })?;
    Ok(Counted { shared: shared.clone(), address })
}

/// One open connection.
pub(super) struct Counted {
    shared: Arc<Shared>,
    address: IpAddr,
}

impl Counted {
    /// The relay it is open at.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shared.connections.leave(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_and_what_ends_makes_room() {
        let connections = Connections::default();
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|address| whose(address.parse().unwrap()));
        assert_eq!([connections.enter(one, 2), connections.enter(one, 2), connections.enter(other, 2)], [Ok(()); 3]);
        assert_eq!(connections.enter(one, 2), Err(2));
        assert_eq!(connections.count(), 3, "what was refused does not count");
        connections.leave(one);
        assert_eq!(connections.enter(one, 2), Ok(()));
        for address in [one, one, other] {
            connections.leave(address);
        }
        assert_eq!(connections.count(), 0);
        assert!(connections.by_address.lock().unwrap().is_empty(), "nothing is kept of who has gone");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_mapped_ones_are_of_ipv4() {
        let whose = |address: &str| whose(address.parse().unwrap());
        assert_eq!(whose("2001:db8:1:2::3"), whose("2001:db8:1:2:ffff::9"));
        assert_ne!(whose("2001:db8:1:2::3"), whose("2001:db8:1:3::3"));
        assert_eq!(whose("::ffff:192.0.2.1"), whose("192.0.2.1"));
        assert_ne!(whose("192.0.2.1"), whose("192.0.2.2"));
    }
}
