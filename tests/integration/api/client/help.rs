//! The help of commands.

use console::{measure_text_width, strip_ansi_codes};

use super::{place, printed};

/// The words of a text that may have colours.
fn words(text: &str) -> Vec<String> {
    strip_ansi_codes(text).split_whitespace().map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn the_help_fits_the_terminal_and_breaks_no_word() {
    let place = place(&[("TERM", "xterm")]);
    for command in [&["--help"][..], &["list", "--help"], &["send", "--help"], &["serve", "--help"]] {
        let piped = printed(&place, command);
        let (code, text) = place.run_on_terminal(80, command).await;
        assert_eq!(code, Some(0), "{text}");
        assert!(text.lines().all(|line| measure_text_width(line) <= 80), "{command:?}: {text}");
        assert_eq!(words(&text), words(&piped), "{command:?}");
    }
}
