//! The hosts that requests and settings name, and the origins of web pages (RFC 6454).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The most characters of a name (RFC 1035).
const MAX_NAME_CHARS: usize = 253;

/// The most characters between two dots of a name (RFC 1035).
const MAX_LABEL_CHARS: usize = 63;

/// A host: a name in lower case, or an IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name, without a dot at its end.
    Name(String),
    /// An address. An IPv4 address in an IPv6 one is the IPv4 address.
    Address(IpAddr),
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        Self::Address(address.to_canonical())
    }
}

impl Host {
    /// Reads `<host>` or `<host>:<port>`, as in the header `Host` and in URLs. An IPv6 address is in brackets.
    /// None for any other text.
    pub fn parse(text: &str) -> Option<(Self, Option<u16>)> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                (Self::from(IpAddr::from(address.parse::<Ipv6Addr>().ok()?)), port)
            }
            None => {
                let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                (Self::named(name)?, port)
            }
        };
        match port.strip_prefix(':') {
            None if port.is_empty() => Some((host, None)),
            None => None,
            // RFC 3986 allows an empty port.
            Some("") => Some((host, None)),
            // `parse` takes a plus sign, too.
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some((host, Some(port.parse().ok()?)))
            }
            Some(_) => None,
        }
    }

    /// Whether the host is this machine by its name or address: requests to it never leave the machine.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost" || name.ends_with(".localhost"),
            Self::Address(address) => address.is_loopback(),
        }
    }

    fn named(text: &str) -> Option<Self> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if let Ok(address) = name.parse::<Ipv4Addr>() {
            return Some(Self::from(IpAddr::from(address)));
        }
        let is_label = |label: &str| {
            (1..=MAX_LABEL_CHARS).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        // Browsers read a name that ends with a number as an IPv4 address.
        let ends_with_number = |name: &str| {
            name.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let is_name =
            name.len() <= MAX_NAME_CHARS && name.split('.').all(is_label) && !ends_with_number(name);
        is_name.then(|| Self::Name(name.to_ascii_lowercase()))
    }
}

impl fmt::Display for Host {
    /// The name or address; an IPv6 address without brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`, with the default port 80.
    Http,
    /// `https`, with the default port 443.
    Https,
}

impl Scheme {
    /// The name, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The origin of a web page: scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebOrigin {
    scheme: Scheme,
    host: Host,
    port: u16,
}

impl WebOrigin {
    /// The origin of what a server has; without a port, at the default port of the scheme.
    pub fn new(scheme: Scheme, host: Host, port: Option<u16>) -> Self {
        Self { scheme, host, port: port.unwrap_or(scheme.default_port()) }
    }

    /// Reads an origin, as in the header `Origin`. None if it is not one of `http` or `https`; the text `null`,
    /// which browsers send for pages without an origin, is none either.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let (host, port) = Host::parse(rest)?;
        Some(Self::new(scheme, host, port))
    }

    /// The origin of an `http` or `https` URL. None if it is not one, or has a user, a query or a fragment.
    pub fn of_url(url: &str) -> Option<Self> {
        let start = url.find("://")? + "://".len();
        let end = url[start..].find('/').map_or(url.len(), |length| start + length);
        let (origin, path) = url.split_at(end);
        let is_path = path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
        is_path.then(|| Self::parse(origin)).flatten()
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "{scheme}://[{address}]")?,
            host => write!(f, "{scheme}://{host}")?,
        }
        if self.port == self.scheme.default_port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_with_and_without_a_port() {
        for (text, host, port) in [
            ("localhost", "localhost", None),
            ("LocalHost.:8080", "localhost", Some(8080)),
            ("my_inbox.example-1.com:80", "my_inbox.example-1.com", Some(80)),
            ("127.0.0.1", "127.0.0.1", None),
            ("127.0.0.1.:1", "127.0.0.1", Some(1)),
            ("[::1]", "::1", None),
            ("[2001:DB8::1]:8080", "2001:db8::1", Some(8080)),
            ("[::ffff:10.0.0.7]", "10.0.0.7", None),
            ("hookbox:", "hookbox", None),
        ] {
            let (read, read_port) = Host::parse(text).expect(text);
            assert_eq!((read.to_string().as_str(), read_port), (host, port), "{text}");
        }
        let (long_label, long_name) = ("a".repeat(64), format!("{}b", "b.".repeat(127)));
        for text in [
            "",
            ".",
            ":8080",
            "a..b",
            "a b",
            "ä.example",
            "*.example",
            "user@host",
            "host/path",
            "host:http",
            "host:65536",
            "host:+80",
            "host:1:2",
            "::1",
            "[::1",
            "[::1]8080",
            "[localhost]",
            "[fe80::1%25eth0]",
            "127.1",
            "8080",
            &long_label,
            &long_name,
        ] {
            assert_eq!(Host::parse(text), None, "{text}");
        }
    }

    #[test]
    fn loopback_is_known_by_name_and_address() {
        let is_loopback = |text: &str| Host::parse(text).expect(text).0.is_loopback();
        for text in
            ["localhost", "app.localhost:80", "127.0.0.1", "127.8.9.10", "[::1]", "[::ffff:127.0.0.1]"]
        {
            assert!(is_loopback(text), "{text}");
        }
        for text in ["localhost.example", "notlocalhost", "0.0.0.0", "10.0.0.7", "[::]", "[fe80::1]"] {
            assert!(!is_loopback(text), "{text}");
        }
    }

    #[test]
    fn origins_are_equal_if_scheme_host_and_port_are() {
        let origin = |text: &str| WebOrigin::parse(text).expect(text);
        assert_eq!(origin("http://a.example"), origin("HTTP://A.example:80"));
        assert_eq!(origin("https://a.example"), origin("https://a.example.:443"));
        assert_ne!(origin("http://a.example"), origin("https://a.example"));
        assert_ne!(origin("http://a.example"), origin("http://a.example:8080"));
        assert_ne!(origin("http://a.example"), origin("http://b.example"));
        for text in ["null", "", "a.example", "file://", "ftp://a.example", "http://", "http://a.example/"] {
            assert_eq!(WebOrigin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_origin_of_a_url_leaves_out_its_path() {
        for (url, origin) in [
            ("https://hooks.example", "https://hooks.example"),
            ("https://hooks.example:443/", "https://hooks.example"),
            ("http://hooks.example:8080/in/box", "http://hooks.example:8080"),
            ("http://[::1]:8080/", "http://[::1]:8080"),
        ] {
            assert_eq!(WebOrigin::of_url(url).expect(url).to_string(), origin);
        }
        for url in [
            "hooks.example",
            "ftp://hooks.example",
            "https://",
            "https:///path",
            "https://user:secret@hooks.example",
            "https://hooks.example?a=b",
            "https://hooks.example/?a=b",
            "https://hooks.example/#a",
            "https://hooks.example/a b",
            "http://::1:8080/",
        ] {
            assert_eq!(WebOrigin::of_url(url), None, "{url}");
        }
    }
}
