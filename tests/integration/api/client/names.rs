//! What names nothing is refused, and no other call is made in its place.

use super::{failed, place};

#[tokio::test]
async fn a_name_that_a_path_cannot_have_is_refused_by_every_command() {
    let place = place(&[]);
    let _process = place.serve().await;
    for name in ["", ".", "..", ".\n"] {
        let why = if name.is_empty() {
            "it is empty"
        } else {
            "is neither the id of a webhook nor the name of a source"
        };
        for arguments in [
            &["status", name][..],
            &["show", name, "--json"],
            &["show", name, "--body"],
            &["watch", name],
            &["retry", name],
            &["cancel", name],
            &["replay", name],
            &["release", name],
            &["discard", name],
            &["sources", "rejections", name],
            &["send", "--source", name],
            &["send", "--source", name, "--preset", "stripe", "--secret", "s"],
        ] {
            let (code, told) = failed(&place, arguments);
            assert_eq!(code, Some(64), "{arguments:?}: {told}");
            assert!(told.contains(why), "{arguments:?}: {told}");
        }
    }
    for arguments in [&["status", "--key", ""][..], &["replay", "--key", ""], &["send", "--key", ""]] {
        let (code, told) = failed(&place, arguments);
        assert_eq!(code, Some(64), "{arguments:?}: {told}");
        assert!(told.contains("it is empty"), "{arguments:?}: {told}");
    }
}
