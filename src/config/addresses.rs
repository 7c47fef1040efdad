//! The addresses of both APIs: one port cannot serve both.

use std::net::SocketAddr;

use super::layers::{Layers, Origin};
use super::mistake::Mistake;

/// A mistake if REST and gRPC would be served at the same port. An address that is none is a mistake of its own.
pub(super) fn mistake(settings: &Layers) -> Option<Mistake> {
    let ((http, http_origin), (grpc, grpc_origin)) = (settings.get("http_addr"), settings.get("grpc_addr"));
    if !is_shared(http.parse().ok()?, grpc.parse().ok()?) {
        return None;
    }
    // The default is not what has to be corrected.
    let (origin, name, value, other) = match grpc_origin {
        Origin::Default => (http_origin, "http_addr", http, "grpc_addr"),
        _ => (grpc_origin, "grpc_addr", grpc, "http_addr"),
    };
    let allowed =
        format!("an address with another port than {other}: one port cannot serve both REST and gRPC");
    Some(Mistake::value(origin, name, value, allowed))
}

/// Whether a system that has given out one of the addresses refuses the other. Port 0 is any port that is free.
fn is_shared(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    let is_same_ip = one.ip() == other.ip() || (is_any && one.is_ipv4() == other.is_ipv4());
    one.port() != 0 && one.port() == other.port() && is_same_ip
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(flags: &[(&'static str, &str)]) -> Option<String> {
        let flags = flags.iter().map(|(name, value)| (*name, (*value).to_owned()));
        mistake(&Layers::read(None, [], flags).expect("no file")).map(|mistake| mistake.text)
    }

    #[test]
    fn one_port_cannot_serve_both_apis() {
        for (http, grpc) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("10.0.0.7:8080", "0.0.0.0:8080"),
            ("[::1]:8080", "[::]:8080"),
        ] {
            let told = told(&[("http_addr", http), ("grpc_addr", grpc)]).unwrap_or_default();
            assert!(told.starts_with(&format!("grpc_addr = {grpc:?} (from the flag --grpc-addr)")), "{told}");
            assert!(told.contains("another port than http_addr"), "{told}");
        }
    }

    #[test]
    fn other_addresses_are_taken() {
        for (http, grpc) in [
            ("127.0.0.1:8080", "127.0.0.1:8081"),
            ("127.0.0.1:8080", "127.0.0.2:8080"),
            ("127.0.0.1:8080", "[::1]:8080"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("127.0.0.1:8080", "soon"),
        ] {
            assert_eq!(told(&[("http_addr", http), ("grpc_addr", grpc)]), None, "{http} {grpc}");
        }
        assert_eq!(told(&[]), None);
    }

    #[test]
    fn the_address_that_somebody_has_set_is_told() {
        let told = told(&[("http_addr", "127.0.0.1:50051")]).unwrap_or_default();
        assert!(told.starts_with("http_addr = \"127.0.0.1:50051\""), "{told}");
        assert!(told.contains("another port than grpc_addr"), "{told}");
    }
}
