//! Which addresses handlers may connect to. Addresses that only mean something on this machine, in this network or
//! in this cloud are refused, unless a route allows them: a URL in the settings, or a name that another
//! party controls, must not reach internal services by mistake.
//!
//! The ranges are those of the IANA registries of special-purpose addresses
//! (<https://www.iana.org/assignments/iana-ipv4-special-registry>,
//! <https://www.iana.org/assignments/iana-ipv6-special-registry>).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Why an address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of address it is, such as `a loopback address`.
    pub kind: &'static str,
    /// The range of such addresses, for `allow`. Of an IPv6 address that contains an IPv4 address, the range of the
    /// latter.
    pub range: IpNet,
}

/// Why an address is refused if a route has this `allow`; none if it may be connected to. An IPv6 address that
/// contains an IPv4 address is refused if the latter is.
pub fn refusal(address: IpAddr, allow: &[IpNet]) -> Option<Refusal> {
    if allow.iter().any(|range| range.contains(&address)) {
        return None;
    }
    match address {
        IpAddr::V4(address) => REFUSED_V4
            .iter()
            .find(|(range, _)| range.contains(&address))
            .map(|(range, kind)| Refusal { kind, range: IpNet::V4(*range) }),
        IpAddr::V6(address) => {
            if let Some((range, kind)) = REFUSED_V6.iter().find(|(range, _)| range.contains(&address)) {
                return Some(Refusal { kind, range: IpNet::V6(*range) });
            }
            let contained = contained(address);
            if contained.is_empty() && !GLOBAL.contains(&address) {
                let range = IpNet::from(IpAddr::V6(address));
                return Some(Refusal { kind: "a reserved address", range });
            }
            contained.into_iter().find_map(|inner| refusal(inner.into(), allow))
        }
    }
}

/// The addresses of `localhost`, as elements of `allow`. Most systems give it both.
pub const LOCALHOST: &str = "\"127.0.0.1/32\", \"::1/128\"";

/// Whether a name always means this machine (RFC 6761, section 6.3).
pub fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

/// The IPv4 addresses that an IPv6 address contains and that a router may send its packets to.
fn contained(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let octets = address.octets();
    let inner = |at: usize| Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3]);
    if AT_THE_END.iter().any(|range| range.contains(&address)) {
        return vec![inner(12)];
    }
    if SIX_TO_FOUR.contains(&address) {
        return vec![inner(2)];
    }
    if TEREDO.contains(&address) {
        // The server, and the client, whose bits are inverted (RFC 4380, section 4).
        return vec![inner(4), Ipv4Addr::from(!u32::from(inner(12)))];
    }
    Vec::new()
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(first: [u16; 4], prefix: u8) -> Ipv6Net {
    let [a, b, c, d] = first;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix)
}

const REFUSED_V4: &[(Ipv4Net, &str)] = &[
    (v4(0, 0, 0, 0, 8), "an unspecified address"),
    (v4(10, 0, 0, 0, 8), "a private address"),
    (v4(100, 64, 0, 0, 10), "a shared address of a provider's network"),
    (v4(127, 0, 0, 0, 8), "a loopback address"),
    (v4(169, 254, 0, 0, 16), "a link-local address, where clouds have their metadata"),
    (v4(172, 16, 0, 0, 12), "a private address"),
    (v4(192, 0, 0, 0, 24), "a reserved address"),
    (v4(192, 0, 2, 0, 24), "an address for documentation"),
    (v4(192, 88, 99, 0, 24), "a reserved address"),
    (v4(192, 168, 0, 0, 16), "a private address"),
    (v4(198, 18, 0, 0, 15), "an address for benchmarks"),
    (v4(198, 51, 100, 0, 24), "an address for documentation"),
    (v4(203, 0, 113, 0, 24), "an address for documentation"),
    // The agents of virtual machines in Azure ask it for their settings.
    (v4(168, 63, 129, 16, 32), "a metadata address"),
    (v4(224, 0, 0, 0, 4), "a multicast address"),
    (v4(255, 255, 255, 255, 32), "the broadcast address"),
    (v4(240, 0, 0, 0, 4), "a reserved address"),
];

const REFUSED_V6: &[(Ipv6Net, &str)] = &[
    (Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128), "an unspecified address"),
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), "a loopback address"),
    // How it contains an IPv4 address is up to the network.
    (v6([0x64, 0xff9b, 1, 0], 48), "an address of a translator (NAT64) in this network"),
    (v6([0xfc00, 0, 0, 0], 7), "a unique local address"),
    (v6([0xfe80, 0, 0, 0], 10), "a link-local address"),
    (v6([0xfec0, 0, 0, 0], 10), "a site-local address"),
    (v6([0xff00, 0, 0, 0], 8), "a multicast address"),
    (v6([0x2001, 2, 0, 0], 48), "an address for benchmarks"),
    (v6([0x2001, 0x10, 0, 0], 28), "a reserved address"),
    (v6([0x2001, 0x20, 0, 0], 28), "a reserved address"),
    (v6([0x2001, 0xdb8, 0, 0], 32), "an address for documentation"),
    (v6([0x3fff, 0, 0, 0], 20), "an address for documentation"),
];

/// Where the addresses of the internet are. What lies outside, and is not named above, is reserved.
const GLOBAL: Ipv6Net = v6([0x2000, 0, 0, 0], 3);

/// IPv6 addresses that end with an IPv4 address: compatible, mapped, translated (SIIT) and NAT64.
const AT_THE_END: [Ipv6Net; 4] = [
    v6([0, 0, 0, 0], 96),
    Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
    Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96),
    v6([0x64, 0xff9b, 0, 0], 96),
];

const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0, 0], 16);

const TEREDO: Ipv6Net = v6([0x2001, 0, 0, 0], 32);

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(address: &str, allow: &[&str]) -> Option<&'static str> {
        let allow = allow.iter().map(|range| range.parse().expect("a range")).collect::<Vec<_>>();
        refusal(address.parse().expect("an address"), &allow).map(|refusal| refusal.kind)
    }

    #[test]
    fn special_addresses_are_refused_in_every_form() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "3fff::1",
            "100::1",
            "4000::1",
            // Forms of 10.0.0.1: mapped, compatible, translated, NAT64, 6to4, Teredo.
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "::ffff:0:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:a00:1::",
            "2001:0:808:808::f5ff:fffe",
            "2001:0:a00:1::f7f7:f7f7",
            "::ffff:127.0.0.1",
            "64:ff9b::169.254.169.254",
            "2002:7f00:1::1",
            // NAT64 of the local network, whatever it contains.
            "64:ff9b:1::8.8.8.8",
        ] {
            assert!(kind(address, &[]).is_some(), "{address}");
        }
    }

    #[test]
    fn public_addresses_are_allowed_in_every_form() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.1",
            "192.167.255.255",
            "192.169.0.1",
            "198.17.255.255",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001:81b::200e",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            "2001:0:808:808::f7f7:f7f7",
        ] {
            assert_eq!(kind(address, &[]), None, "{address}");
        }
    }

    #[test]
    fn allowed_ranges_are_not_refused_and_all_others_still_are() {
        for (address, allow, refused) in [
            ("10.1.2.3", "10.0.0.0/8", None),
            ("::ffff:10.1.2.3", "10.0.0.0/8", None),
            ("64:ff9b::10.1.2.3", "10.0.0.0/8", None),
            ("10.1.2.3", "10.1.2.3/32", None),
            ("10.1.2.4", "10.1.2.3/32", Some("a private address")),
            ("127.0.0.1", "10.0.0.0/8", Some("a loopback address")),
            ("::1", "127.0.0.0/8", Some("a loopback address")),
            ("::1", "::1/128", None),
            ("fd00::1", "fc00::/7", None),
            ("64:ff9b:1::10.1.2.3", "64:ff9b:1::/48", None),
        ] {
            assert_eq!(kind(address, &[allow]), refused, "{address} with {allow}");
        }
    }

    #[test]
    fn a_refusal_names_the_range_to_allow() {
        let range = |address: &str| {
            let refusal = refusal(address.parse().expect("an address"), &[]);
            refusal.map(|refusal| refusal.range.to_string())
        };
        assert_eq!(range("127.0.0.1").as_deref(), Some("127.0.0.0/8"));
        assert_eq!(range("::ffff:192.168.7.1").as_deref(), Some("192.168.0.0/16"));
        assert_eq!(range("::1").as_deref(), Some("::1/128"));
        assert_eq!(range("4000::1").as_deref(), Some("4000::1/128"));
    }
}
