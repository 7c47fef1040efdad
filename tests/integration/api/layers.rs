//! The layers: reads the paths in `src` and fails on a breach of the map in `docs/ARCHITECTURE.md`.

use std::path::Path;

/// A folder under `src` and the file beside it, what of the crate they may name besides
/// themselves, and which libraries they may not.
struct Layer {
    name: &'static str,
    may_name: &'static [&'static str],
    never: &'static [&'static str],
}

/// `app`, `builder`, `cli`, `lib` and `main` see all of the crate, but are not exempt from `ONLY`.
const LAYERS: &[Layer] = &[
    Layer { name: "domain", may_name: &[], never: &["diesel", "tonic", "axum", "tokio", "hyper", "prost"] },
    Layer {
        name: "store",
        may_name: &["bounded_file", "domain", "telemetry", "tls"],
        never: &["tonic", "axum", "hyper", "prost"],
    },
    Layer {
        name: "service",
        may_name: &["access", "domain", "keys", "routes", "sources", "store", "telemetry", "tls"],
        never: &["tonic", "axum", "hyper", "prost"],
    },
    // Limits of tokens are globs, as routes have them.
    Layer {
        name: "access",
        may_name: &["domain", "routes"],
        never: &["diesel", "tonic", "axum", "tokio", "hyper", "prost"],
    },
    Layer {
        name: "connections",
        may_name: &["domain", "telemetry", "tls"],
        never: &["diesel", "tonic", "axum", "hyper", "prost"],
    },
    Layer {
        name: "http",
        may_name: &["access", "connections", "domain", "sources", "store", "service", "telemetry", "tls"],
        never: &["tonic", "prost"],
    },
    Layer {
        name: "grpc",
        may_name: &["access", "connections", "domain", "store", "service", "telemetry", "tls"],
        never: &["axum", "hyper"],
    },
    Layer {
        name: "page",
        may_name: &["access", "connections", "domain", "service", "telemetry"],
        never: &["diesel", "tonic", "hyper", "prost", "utoipa"],
    },
    Layer {
        name: "worker",
        may_name: &["domain", "store", "telemetry"],
        never: &["tonic", "axum", "hyper", "prost"],
    },
    Layer {
        name: "handlers",
        may_name: &["domain", "telemetry", "tls", "worker"],
        never: &["diesel", "tonic", "axum", "prost"],
    },
    Layer {
        name: "routes",
        may_name: &["domain"],
        never: &["diesel", "tonic", "axum", "tokio", "hyper", "prost"],
    },
    Layer {
        name: "sources",
        may_name: &["domain"],
        never: &["diesel", "tonic", "axum", "tokio", "hyper", "prost", "reqwest"],
    },
    Layer {
        name: "keys",
        may_name: &["domain", "sources", "telemetry", "tls"],
        never: &["diesel", "tonic", "axum", "hyper", "prost"],
    },
    // What the commands use to talk to a running hookbox: it knows the contract, and nothing that runs in a server.
    Layer { name: "client", may_name: &["domain", "tls"], never: &["diesel", "tonic", "axum", "prost"] },
    Layer {
        name: "bounded_file",
        may_name: &[],
        never: &["diesel", "tonic", "axum", "tokio", "hyper", "prost"],
    },
    Layer { name: "clock", may_name: &["domain"], never: &["diesel", "tonic", "axum", "hyper", "prost"] },
    Layer {
        name: "config",
        may_name: &["access", "bounded_file", "domain", "routes", "sources", "store", "telemetry", "tls"],
        never: &["tonic", "axum", "hyper", "tokio"],
    },
    Layer { name: "telemetry", may_name: &["domain", "tls"], never: &["tonic", "axum", "hyper"] },
    Layer {
        name: "tls",
        may_name: &["bounded_file", "domain"],
        never: &["diesel", "tonic", "axum", "tokio", "hyper", "prost"],
    },
];

/// Libraries and modules that one layer alone may name, and `app` and `cli` where they are listed.
const ONLY: &[(&str, &[&str])] = &[
    ("diesel", &["store"]),
    ("diesel_migrations", &["store"]),
    ("libsqlite3_sys", &["store"]),
    ("diesel_async", &["store"]),
    ("tokio_postgres", &["store"]),
    ("crate::store::sqlite", &["store", "app", "cli"]),
    // The settings read where the database is.
    ("crate::store::postgres", &["store", "app", "cli", "config"]),
    ("procfs", &["telemetry"]),
    // What it cannot read is logged.
    ("rustls_native_certs", &["tls"]),
    ("prometheus_client", &["telemetry"]),
    ("utoipa", &["http"]),
    ("maud", &["page"]),
];

#[test]
fn no_layer_names_what_it_must_not_know() {
    let mut breaches = Vec::new();
    for (file, layer, text) in sources() {
        for breach in breaches_of(&layer, &text) {
            breaches.push(format!("{file}: {breach}"));
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn every_folder_of_the_source_is_a_layer_of_the_map() {
    let known: Vec<_> =
        LAYERS.iter().map(|layer| layer.name).chain(["app", "builder", "cli", "lib", "main"]).collect();
    for (file, layer, _) in sources() {
        assert!(known.contains(&layer.as_str()), "{file} belongs to no layer");
    }
}

#[test]
fn a_breach_is_found_however_it_is_written() {
    for (layer, text) in [
        ("domain", "use crate::store::Store;"),
        ("domain", "use crate::{\n    domain::job,\n    service::Service,\n};"),
        ("domain", "fn f() { crate::telemetry::trace::join() }"),
        ("domain", "use tokio::sync::oneshot;"),
        ("domain", "use ::diesel::prelude::*;"),
        ("http", "use crate::store::{Page, sqlite::SqliteStore};"),
        ("http", "use crate::store::sqlite;"),
        ("page", "use crate::http::status_of;"),
        ("page", "use crate::store::Page;"),
        ("http", "use maud::html;"),
        ("grpc", "use crate::http::problem;"),
        ("worker", "pub use crate::service::Service;"),
        ("worker", "use crate::handlers::http::Http;"),
        ("handlers", "use crate::store::ClaimedJob;"),
        ("cli", "type T = diesel::sqlite::SqliteConnection;"),
    ] {
        assert!(!breaches_of(layer, text).is_empty(), "{layer}: {text}");
    }
    for (layer, text) in [
        ("domain", "use crate::domain::job::Status; // not crate::store"),
        ("domain", "/// See crate::service.\nuse jiff::Timestamp;"),
        ("http", "use crate::store::{Accepted, Page};"),
        ("http", "use crate::{domain::error::Error, store::Page};"),
        ("app", "use crate::store::sqlite::{self, SqliteStore};\nuse crate::{grpc, http};"),
        ("http", "let my_diesel::x = 1;"),
    ] {
        assert_eq!(breaches_of(layer, text), Vec::<String>::new(), "{layer}: {text}");
    }
}

fn breaches_of(layer: &str, text: &str) -> Vec<String> {
    let named = paths(text);
    let mut breaches = Vec::new();
    let first = |path: &str, depth: usize| path.split("::").take(depth).collect::<Vec<_>>().join("::");
    if let Some(rule) = LAYERS.iter().find(|rule| rule.name == layer) {
        for path in &named {
            if let Some(inner) = path.strip_prefix("crate::") {
                let inner = first(inner, 1);
                if inner != layer && !rule.may_name.contains(&inner.as_str()) {
                    breaches.push(format!("`{layer}` must not know `{path}`"));
                }
            } else if rule.never.contains(&first(path, 1).as_str()) {
                breaches.push(format!("`{layer}` must not know `{path}`"));
            }
        }
    }
    for (what, allowed) in ONLY.iter().filter(|(_, allowed)| !allowed.contains(&layer)) {
        let depth = what.split("::").count();
        for path in named.iter().filter(|path| first(path, depth) == *what) {
            breaches.push(format!("only {allowed:?} may know `{path}`"));
        }
    }
    breaches.sort();
    breaches.dedup();
    breaches
}

/// Every path of two parts and more, with groups in braces written out.
fn paths(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut paths = Vec::new();
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = code.as_str();
    while let Some(start) = rest.find(is_name) {
        let end = rest[start..].find(|c| !is_name(c)).map_or(rest.len(), |length| start + length);
        let name = &rest[start..end];
        rest = &rest[end..];
        if rest.starts_with("::") {
            let (tree, after) = tree(&rest[2..]);
            paths.extend(tree.into_iter().map(|tail| format!("{name}::{tail}")));
            rest = after;
        }
    }
    paths
}

/// The paths that follow a `::`, and the text after them.
fn tree(text: &str) -> (Vec<String>, &str) {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    if let Some(mut rest) = text.strip_prefix('{') {
        let mut all = Vec::new();
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if let Some(after) = rest.strip_prefix('}') {
                return (all, after);
            }
            let (paths, after) = tree(rest);
            if after.len() == rest.len() {
                // Not a group of names, such as `*`.
                rest = &rest[rest.chars().next().map_or(0, char::len_utf8)..];
                if rest.is_empty() {
                    return (all, rest);
                }
                continue;
            }
            all.extend(paths);
            rest = after;
        }
    }
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match rest.strip_prefix("::") {
        Some(after) if !name.is_empty() => {
            let (paths, after) = tree(after);
            (paths.into_iter().map(|path| format!("{name}::{path}")).collect(), after)
        }
        _ => (vec![name.to_owned()], rest),
    }
}

/// Each file of `src`, the layer it belongs to, and its text.
fn sources() -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let file = path.strip_prefix(&root).unwrap();
                let layer = file.components().next().unwrap().as_os_str().to_str().unwrap();
                let layer = layer.trim_end_matches(".rs").to_owned();
                sources.push((file.display().to_string(), layer, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(sources.len() > 30, "src was found");
    sources
}
