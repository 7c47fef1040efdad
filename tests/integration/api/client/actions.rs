//! `hookbox actions`: the list of actions, with their reasons.

use super::{lines, place, printed};

#[tokio::test]
async fn what_operators_did_is_listed_newest_first_with_their_reasons() {
    let place = place(&[]);
    let process = place.serve().await;
    printed(&place, &["pause", "--all", "--reason", "the shop moves"]);
    let id = process.rest.accept("evt-001").await;
    printed(&place, &["cancel", &id, "--reason", "sent twice"]);
    printed(&place, &["resume", "--all"]);

    let told = |arguments: &[&str]| {
        let listed = lines(&place, &[&["actions", "--json"][..], arguments].concat());
        let texts = listed.iter().map(|action| {
            let text = |member: &str| action[member].as_str().unwrap_or_default().to_owned();
            (text("action"), text("reason"))
        });
        texts.collect::<Vec<_>>()
    };
    let all = [("resume", ""), ("cancel_webhook", "sent twice"), ("pause", "the shop moves")];
    let all = all.map(|(action, reason)| (action.to_owned(), reason.to_owned()));
    assert_eq!(told(&[]), all);
    assert_eq!(told(&["--limit", "1"]), all[..1]);
    assert_eq!(told(&["--all", "--webhook", &id]), all[1..2]);

    let table = printed(&place, &["actions"]);
    let rows = table.lines().collect::<Vec<_>>();
    for (row, texts) in rows.iter().zip([
        ["TIME", "WHO", "WHY"],
        ["anonymous", "resume", "everything"],
        [id.as_str(), "cancel_webhook", "sent twice"],
        ["anonymous", "everything", "the shop moves"],
    ]) {
        assert!(texts.iter().all(|text| row.contains(text)), "{texts:?}: {table}");
    }
    assert_eq!(rows.len(), 4, "{table}");
    assert!(!table.contains("source default"), "the id says it: {table}");
}
