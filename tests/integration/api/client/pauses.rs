//! Pauses of everything, of a route or of a source: `hookbox routes` and `hookbox sources` show each of them.

use serde_json::{Value, json};

use super::{lines, place, printed, told};

const SETTINGS: &str = r#"
    [sources.shop]
    verify = "none"
    key = { header = "X-Id" }

    [[routes]]
    name = "orders"
    match = { source = "shop" }

    [[routes]]
    name = "others"
"#;

/// The row of a table that begins with a name.
#[track_caller]
fn row<'t>(table: &'t str, name: &str) -> &'t str {
    let is_first = |line: &&str| line.split(' ').next() == Some(name);
    table.lines().find(is_first).unwrap_or_else(|| panic!("{name}: {table}"))
}

#[tokio::test]
async fn a_pause_of_a_source_without_settings_is_shown() {
    let place = place(&[]);
    std::fs::write(place.path("hookbox.toml"), SETTINGS).unwrap();
    let process = place.serve().await;
    printed(&place, &["pause", "--source", "default", "--reason", "it moves"]);
    let routes = printed(&place, &["routes"]);
    assert!(row(&routes, "others").contains("source default paused "), "{routes}");
    assert!(row(&routes, "others").contains(" by anonymous: it moves"), "{routes}");
    assert!(!row(&routes, "orders").contains("paused"), "it takes no webhooks of `default`: {routes}");
    let sources = printed(&place, &["sources"]);
    assert!(row(&sources, "default").contains(" paused "), "{sources}");
    assert!(
        !sources.contains("not in the settings") && !row(&sources, "shop").contains("paused"),
        "{sources}"
    );

    let listed = lines(&place, &["routes", "--json"]);
    assert_eq!(Value::from(listed.clone()), process.rest.get("/v1/routes").await.json()["routes"]);
    assert!(listed.iter().all(|route| route["paused"] == json!(false)), "{listed:?}");
    assert_eq!(lines(&place, &["sources", "--json"]).len(), 1, "what hookbox answers");

    printed(&place, &["resume", "--source", "default"]);
    for command in ["routes", "sources"] {
        assert!(!printed(&place, &[command]).contains("paused"));
    }
}

#[tokio::test]
async fn a_pause_of_everything_is_shown() {
    let place = place(&[]);
    let process = place.serve().await;
    printed(&place, &["pause", "--all", "--reason", "it moves"]);
    let sources = printed(&place, &["sources"]);
    let below = sources.lines().last().unwrap();
    assert!(
        below.starts_with("everything paused ") && below.ends_with(" by anonymous: it moves"),
        "{sources}"
    );

    std::fs::write(place.path("hookbox.toml"), SETTINGS).unwrap();
    assert_eq!(process.rest.post("/v1/settings/reload").await.status, 200);
    let (routes, sources) = (printed(&place, &["routes"]), printed(&place, &["sources"]));
    for row in [row(&routes, "orders"), row(&routes, "others"), row(&sources, "shop")] {
        assert!(row.contains("everything paused ") && row.contains(" by anonymous: it moves"), "{row}");
    }
    // No row shows it, because no route names the source.
    printed(&place, &["pause", "--source", "hookbox"]);
    let routes = printed(&place, &["routes"]);
    assert!(routes.lines().last().unwrap().starts_with("source hookbox paused "), "{routes}");
}

#[tokio::test]
async fn a_pause_of_a_source_that_is_not_in_the_settings_is_kept_and_says_so() {
    let place = place(&[]);
    std::fs::write(place.path("hookbox.toml"), SETTINGS).unwrap();
    let _process = place.serve().await;
    for known in ["shop", "default", "hookbox"] {
        let paused = place.run(&["pause", "--source", known]);
        assert_eq!((paused.status.code(), told(&paused).as_str()), (Some(0), ""), "{known}");
    }
    for json in [&[][..], &["--json"]] {
        let paused = place.run(&[&["pause", "--source", "shpo"][..], json].concat());
        let told = told(&paused);
        assert_eq!(paused.status.code(), Some(0), "{told}");
        assert!(told.contains("the settings have no source shpo; "), "{told}");
        assert!(told.contains("`hookbox resume --source shpo`"), "{told}");
    }
    let sources = printed(&place, &["sources"]);
    assert!(row(&sources, "shpo").contains(" not in the settings; paused "), "{sources}");
    let resumed = printed(&place, &["resume", "--source", "shpo"]);
    assert_eq!(resumed, "the source shpo is resumed\n");
}
