//! How far a list has looked. If it is a search in bodies, `assets/search.js` goes on by itself until the page is full.

use maud::{Markup, html};

use crate::page::assets;
use crate::page::context::Context;
use crate::page::parts::{count, moment, nothing};
use crate::service::Page;

/// How far the list has looked; nothing if it has looked at all webhooks. `limit` is the most rows of a search in bodies;
/// none for another list.
pub(super) fn progress(context: &Context, page: &Page, limit: Option<usize>) -> Markup {
    let Some(time) = page.searched_to() else { return nothing() };
    let room = limit.map(|limit| limit.saturating_sub(page.webhooks.len()));
    let goes_on = room.is_some_and(|room| room > 0);
    html! {
        div.row id="search" data-room=[room] data-back=[goes_on.then(|| context.here())] {
            // The script changes the three parts, and puts the focus here if what had it goes away.
            p.muted.small id="searched" tabindex=[goes_on.then_some("-1")] {
                span { (count(page.webhooks.len() as u64, "webhook", "webhooks")) }
                " of those accepted since " span { (moment(time, context.now)) } ". "
                span { "Older ones may match, too." }
            }
            @if goes_on {
                button type="button" hidden id="search-stop" { "Stop" }
                p.visually-hidden id="search-status" role="status" {}
                script type="module" src=(context.path(&format!("/assets/{}", assets::search_script().name()))) {}
            }
        }
    }
}
