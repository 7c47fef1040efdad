//! Sources in the settings file, as the program checks and shows them.

use crate::api::harness::process::Place;

fn write(place: &Place, settings: &str) {
    std::fs::write(place.path("hookbox.toml"), settings).unwrap();
}

#[test]
fn config_check_tells_the_mistakes_of_sources_with_all_others() {
    let place = Place::new(&[]);
    write(
        &place,
        "lease = \"soon\"\n\
         source = \"shop\"\n\
         [[routes]]\n\
         nam = \"orders\"\n\
         [sources.shop]\n\
         preset = \"stripe\"\n\
         secrets = [\"env:NO_SUCH_VARIABLE\"]\n\
         [sources.erp]\n\
         verify = \"none\"\n\
         key = { header = \"X-Id\" }\n\
         split = \"/items\"\n",
    );
    let ended = place.run(&["config", "check"]);
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(64), "{told}");
    for mistake in [
        "hookbox.toml:1:9: lease",
        "hookbox.toml:2:1: the setting `source` is not known; did you mean `sources`?",
        "hookbox.toml:4:1: routes[0].nam is not known",
        "hookbox.toml:7:12: sources.shop.secrets[0] = \"env:NO_SUCH_VARIABLE\"",
        "hookbox.toml:10:7: sources.erp.key: items of a batch could have the same key",
    ] {
        assert!(told.contains(mistake), "{mistake}: {told}");
    }
    assert_eq!(place.run(&["serve"]).status.code(), Some(64), "it does not start with them");
}

#[test]
fn an_unknown_preset_is_told_with_the_nearest_name() {
    let place = Place::new(&[]);
    for name in ["strip", "Stripe"] {
        let send = ["send", "--source", "shop", "--preset", name, "--secret", "s", "{}"];
        for command in [&["presets", "show", name][..], &send] {
            let ended = place.run(command);
            let told = String::from_utf8(ended.stderr).unwrap();
            assert_ne!(ended.status.code(), Some(0), "{command:?}");
            let expected = format!(
                "there is no preset {name:?}; `hookbox presets` lists all of them; did you mean `stripe`?"
            );
            assert!(told.contains(&expected), "{command:?}: {told}");
        }
    }
}

#[test]
fn config_shows_sources_without_secrets_and_its_output_can_be_used() {
    let place = Place::new(&[("SHOP_SECRET", "s3cret")]);
    let secret = "secrets = [\"env:SHOP_SECRET\"]";
    write(&place, &format!("[sources.shop]\npreset = \"stripe\"\n{secret}\non_conflict = \"reject\"\n"));
    let shown = String::from_utf8(place.run(&["config"]).stdout).unwrap();
    assert!(shown.contains("\n[sources.shop]\n"), "{shown}");
    for (member, origin) in [
        ("preset = \"stripe\"", "hookbox.toml:2:10"),
        ("secrets = [\"env:SHOP_SECRET\"]", "hookbox.toml:3:11"),
        ("on_conflict = \"reject\"", "hookbox.toml:4:15"),
        ("key = { json = \"/id\" }", "the preset stripe"),
    ] {
        let line = format!("\n{member:<44} # {origin}\n");
        assert!(shown.contains(&line), "{line} in {shown}");
    }
    assert!(!shown.contains("s3cret"), "{shown}");
    write(&place, &shown);
    let checked = place.run(&["config", "check"]);
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stderr));
    let told = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(told, "the settings are fine: 1 route, 1 source\n");
}
