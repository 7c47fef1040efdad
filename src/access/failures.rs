//! Counts the failed tokens of each address, so that many of them are slowed. In memory, for a limited number of
//! addresses.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// How many tokens of an address may fail at once.
const BURST: u32 = 10;

/// After which time one more token may fail.
const INTERVAL: Duration = Duration::from_secs(6);

/// The most addresses that are remembered.
const MAX_ADDRESSES: usize = 10_000;

/// Of an IPv6 address, the bits that name the network. A client usually has all addresses of its network.
const NETWORK_BITS: u128 = u128::MAX << 64;

/// The addresses whose tokens have failed lately.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// By network, the monotonic time at which its failures are forgotten: each adds [`INTERVAL`] (GCRA).
    forgotten_at: HashMap<IpAddr, Duration>,
    swept_at: Duration,
}

impl Failures {
    /// Adds a failure of `client`. `now` is monotonic. The error is the time after which another one is counted: until
    /// then, there are too many.
    pub(super) fn add(&mut self, client: IpAddr, now: Duration) -> Result<(), Duration> {
        let network = network(client);
        if !self.forgotten_at.contains_key(&network) && !self.has_room(now) {
            return Err(INTERVAL);
        }
        let forgotten_at = self.forgotten_at.entry(network).or_insert(now);
        let next = (*forgotten_at).max(now) + INTERVAL;
        let latest = now + INTERVAL * BURST;
        if next > latest {
            return Err(next - latest);
        }
        *forgotten_at = next;
        Ok(())
    }

    /// Whether one more address can be remembered. Forgets old ones, but not at every call: that reads all of them.
    fn has_room(&mut self, now: Duration) -> bool {
        if self.forgotten_at.len() >= MAX_ADDRESSES && now >= self.swept_at + INTERVAL {
            self.swept_at = now;
            self.forgotten_at.retain(|_, forgotten_at| *forgotten_at > now);
        }
        self.forgotten_at.len() < MAX_ADDRESSES
    }
}

fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & NETWORK_BITS).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1_000);

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn ten_failures_may_come_at_once_and_then_one_every_six_seconds() {
        let mut failures = Failures::default();
        let client = address("192.0.2.7");
        for _ in 0..10 {
            assert_eq!(failures.add(client, START), Ok(()));
        }
        assert_eq!(failures.add(client, START), Err(INTERVAL));
        assert_eq!(failures.add(client, START + INTERVAL / 2), Err(INTERVAL / 2));
        assert_eq!(failures.add(client, START + INTERVAL), Ok(()), "what was slowed is not counted");
        assert_eq!(failures.add(client, START + INTERVAL), Err(INTERVAL));
        for _ in 0..10 {
            assert_eq!(failures.add(client, START + INTERVAL * 20), Ok(()), "a minute forgets all");
        }
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let mut failures = Failures::default();
        for number in 0..10 {
            assert_eq!(failures.add(address(&format!("2001:db8::{number}")), START), Ok(()));
        }
        assert!(failures.add(address("2001:db8::ffff:1"), START).is_err());
        assert_eq!(failures.add(address("2001:db8:0:1::1"), START), Ok(()));
        assert_eq!(failures.add(address("::ffff:192.0.2.7"), START), Ok(()));
        assert_eq!(network(address("::ffff:192.0.2.7")), address("192.0.2.7"));
    }

    #[test]
    fn a_limited_number_of_addresses_is_remembered_and_old_ones_make_room() {
        let mut failures = Failures::default();
        let numbered = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..MAX_ADDRESSES as u32 {
            assert_eq!(failures.add(numbered(number), START), Ok(()));
        }
        assert_eq!(failures.add(address("192.0.2.7"), START), Err(INTERVAL));
        assert_eq!(failures.add(numbered(0), START), Ok(()), "a known address is still counted");
        assert_eq!(failures.add(address("192.0.2.7"), START + INTERVAL), Ok(()));
        assert_eq!(failures.forgotten_at.len(), 2);
    }
}
