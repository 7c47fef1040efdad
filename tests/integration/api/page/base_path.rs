//! The page behind a proxy that serves it under a prefix.

use std::collections::BTreeSet;

use hookbox::internals::config::{Config, HANDLERS, Layers};
use hookbox::internals::{http, page};

use super::{Browser, values_of};
use crate::api::harness::{Hookbox, Sqlite};

#[tokio::test]
async fn every_link_has_the_prefix_and_is_served_with_and_without_it() {
    let hookbox = Hookbox::with(Sqlite, &[("base_path", "/in/hooks")]);
    let browser = Browser::of(&hookbox);
    for path in ["/", "/in/hooks", "/in/hooks/", "/overview", "/settings", "/in/hooks/settings"] {
        let view = browser.get(path).await;
        assert_eq!(view.status, 200, "{path}");
        let links = ["href", "src", "action", "data-stream"]
            .map(|attribute| values_of(&view.text, attribute))
            .concat();
        assert!(links.len() > 10, "{links:?}");
        for link in links.into_iter().filter(|link| !link.starts_with('#')) {
            assert!(link.starts_with("/in/hooks/"), "{path}: {link}");
            if link.contains("/assets/") {
                assert_eq!(browser.get(link).await.status, 200, "{link}");
            }
        }
    }
}

#[tokio::test]
async fn the_login_stays_under_the_prefix() {
    let settings = [("base_path", "/hooks/"), ("admin_token", "hbx_0123456789abcdef")];
    let hookbox = Hookbox::with(Sqlite, &settings);
    let browser = Browser::of(&hookbox);
    for (path, location) in [
        ("/hooks", "/hooks/login"),
        ("/hooks/settings?a", "/hooks/login?next=%2Fsettings%3Fa"),
        ("/settings", "/hooks/login?next=%2Fsettings"),
    ] {
        let answer = browser.get(path).await;
        assert_eq!((answer.status, answer.header("location")), (303, location), "{path}");
    }
    let fields = [("token", "hbx_0123456789abcdef"), ("next", "/settings")];
    let answer = browser.post("/hooks/login", &fields).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/hooks/settings"));
    assert!(answer.header("set-cookie").contains("; Path=/hooks; "), "{:?}", answer.headers);
}

#[test]
fn a_prefix_is_none_of_the_paths_that_are_served() {
    let documented = serde_json::to_value(http::openapi()).unwrap();
    let documented = documented["paths"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let own = page::paths().into_iter().map(|(_, path)| path.to_owned()).chain(documented);
    let own = own.chain(["/docs".to_owned(), "/openapi.json".to_owned()]);
    let first = own
        .filter_map(|path| path.split('/').nth(1).map(ToOwned::to_owned))
        .filter(|first| !first.is_empty());
    let mut reserved = first.collect::<BTreeSet<_>>();
    assert!(reserved.len() > 8, "{reserved:?}");
    reserved.insert("../a".to_owned());
    for name in reserved {
        let flags = [("base_path", format!("/{name}"))];
        let layers = Layers::read(None, [], flags).unwrap();
        let mistakes = Config::new(&layers, HANDLERS).map(drop).unwrap_err().to_string();
        assert!(mistakes.contains("base_path") && mistakes.contains("such as /hooks"), "{name}: {mistakes}");
    }
}
