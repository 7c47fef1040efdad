//! Commands that print no table, on a terminal: their lines have colours, and senders cannot act on the terminal.

use nix::sys::signal::Signal;

use super::local::Local;
use super::place;
use super::replay::wait_for_text;

/// How every colour begins.
const ESCAPE: char = '\u{1b}';

/// Turns the direction of a text.
const EVENT_TYPE: &str = "order\u{202e}detaerc";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_have_colours_and_senders_cannot_act_on_the_terminal() {
    let (mut place, local) = (place(&[("TERM", "xterm")]), Local::start().await);
    let process = place.serve().await;
    // The webhook stays as it is while it is looked at.
    let (code, text) = place.run_on_terminal(80, &["pause", "--all"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("everything is paused since 20") && !text.contains(ESCAPE), "{text:?}");

    let forward = local.url("/");
    let (mut tail, of_tail) = place.start_wholly_on_terminal(&["tail"]);
    let (mut listen, of_listen) = place.start_wholly_on_terminal(&["listen", "--forward", &forward]);
    for terminal in [&of_tail, &of_listen] {
        wait_for_text(terminal, "waiting for webhooks").await;
    }
    let id = process.rest.submit("evt-001", EVENT_TYPE, "{}").await.text_of("id");
    let names = "default  order\\u{202e}detaerc  evt-001";
    wait_for_text(&of_tail, &format!("  \u{1b}[2m{id}\u{1b}[0m  {names}  pending\r\n")).await;
    wait_for_text(&of_listen, &format!(" ms  {id}  {names}\r\n")).await;
    assert!(of_listen.text().contains("  \u{1b}[32m200\u{1b}[0m  "), "{:?}", of_listen.text());
    for (command, terminal, last) in [
        (&mut tail, &of_tail, "or repeating one: hookbox tail --from "),
        (&mut listen, &of_listen, "with the same options goes on here\r\n"),
    ] {
        command.signal(Signal::SIGINT);
        assert_eq!(command.ended().await.code(), Some(130), "{}", terminal.text());
        wait_for_text(terminal, last).await;
        assert!(!terminal.text().contains('\u{202e}'), "{:?}", terminal.text());
    }

    let (code, text) = place.run_on_terminal(80, &["resume", "--all"]).await;
    assert_eq!((code, text.as_str()), (Some(0), "everything is resumed\r\n"));
    let watch = ["watch", id.as_str()];
    let (code, text) = place.run_on_terminal(80, &watch).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("  \u{1b}[32mcompleted\u{1b}[0m  attempt 1\r\n"), "{text:?}");
    place.set("NO_COLOR", "1");
    let (_, text) = place.run_on_terminal(80, &watch).await;
    assert!(text.contains("  completed  attempt 1\r\n") && !text.contains(ESCAPE), "{text:?}");
}
