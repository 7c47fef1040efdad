//! Tables on a terminal: they fit it, and have colours. On a pipe nothing is cut, and nothing has colours.

use console::measure_text_width;

use super::{place, printed};

/// How every colour, and bold text, begins.
const ESCAPE: char = '\u{1b}';

/// Longer than any of the terminals, and with characters of two columns.
const EVENT_TYPE: &str = "order.created.by-a-customer-who-has-a-long-name.注文が作成されました";

/// The tables among what a command prints: headers and the body are the sender's, and are not cut.
fn tables(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| !line.contains("headers"))
}

#[tokio::test]
async fn tables_fit_the_terminal_and_only_a_terminal_gets_colours() {
    let mut place =
        place(&[("TERM", "xterm"), ("HOOKBOX_SIMULATE_FAILURE_RATE", "1"), ("HOOKBOX_MAX_ATTEMPTS", "1")]);
    let process = place.serve().await;
    let key = "order-".repeat(20);
    let mut ids = Vec::new();
    for key in [key.as_str(), "7"] {
        let id = process.rest.submit(key, EVENT_TYPE, "{}").await.text_of("id");
        process.wait_for(&id, "dead_lettered").await;
        ids.push(id);
    }
    let (list, show) = (["list"], ["show", ids[0].as_str()]);
    for command in [&list[..], &show] {
        let piped = printed(&place, command);
        assert!(!piped.contains(ESCAPE), "{piped}");
        assert!(piped.contains(&key) && piped.contains(EVENT_TYPE), "nothing is cut: {piped}");
    }
    printed(&place, &["replay", "--until", "0s", "--dry-run"]);
    let check = async |columns: u16, command: &[&str]| {
        let (code, text) = place.run_on_terminal(columns, command).await;
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains(ESCAPE), "{text:?}");
        for line in tables(&text) {
            assert!(measure_text_width(line) <= usize::from(columns), "{columns}: {line:?}");
        }
    };
    let status = ["status", ids[0].as_str()];
    for command in [&list[..], &show, &status, &["routes"], &["sources"], &["replays"]] {
        for columns in [80, 40] {
            check(columns, command).await;
        }
    }
    for columns in [80, 40] {
        let (_, text) = place.run_on_terminal(columns, &list).await;
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(ids.iter().all(|id| text.contains(id)), "an id is not cut: {text}");
    }
    for (command, what) in [(&list[..], "two webhooks"), (&show[..], "the webhook and its job")] {
        let (_, text) = place.run_on_terminal(80, command).await;
        let whole = text.matches("\u{1b}[31mdead_lettered\u{1b}[0m").count();
        assert_eq!(whole, 2, "the statuses of {what} are not cut: {text:?}");
    }

    // Each with a key of its own.
    for columns in [80, 40] {
        check(columns, &["send", "--type", EVENT_TYPE][..]).await;
    }
    let (_, text) = place.run_on_terminal(80, &["list", "--json"]).await;
    assert!(!text.contains(ESCAPE) && text.contains(&key), "{text:?}");
    place.set("NO_COLOR", "1");
    for command in [&list[..], &show] {
        let (_, text) = place.run_on_terminal(40, command).await;
        assert!(!text.contains(ESCAPE), "{text:?}");
        assert!(tables(&text).all(|line| measure_text_width(line) <= 40), "{text}");
    }

    printed(&place, &["retry", &ids[0]]);
    let (_, text) = place.run_on_terminal(80, &["actions"]).await;
    assert!(text.lines().all(|line| measure_text_width(line) <= 80), "{text}");
    assert!(text.contains("retry_webhook") && text.contains(&ids[0]), "an id is not cut: {text}");
}
