//! The last requests of a source that were refused: by cause with what to do, and one by one.

use maud::{Markup, html};

use super::advice::{advice, word};
use crate::page::context::Context;
use crate::page::parts::{self, Tone, bytes, number};
use crate::service::activity::Rejection;

/// The most characters that are shown of the text of a rejection.
const MAX_DETAIL_CHARS: usize = 300;

/// The most characters that are shown of a text of the request.
const MAX_TEXT_CHARS: usize = 80;

/// Rejections with the same cause or reason.
struct Group<'a> {
    word: &'static str,
    count: u64,
    newest: &'a Rejection,
}

/// The last rejections, the newest first.
pub(super) fn section(context: &Context, rejections: &[Rejection]) -> Markup {
    html! {
        section.card id="rejections" data-live {
            h2 { "Refused requests" }
            @if rejections.is_empty() {
                (parts::empty("No request of this source was refused since hookbox was started.", ""))
            } @else {
                (by_cause(context, rejections))
                details.more id="each-rejection" {
                    summary { "Each of the last " (number(rejections.len() as u64)) }
                    (one_by_one(context, rejections))
                }
            }
        }
    }
}

/// The causes in the order of their newest rejections.
fn groups(rejections: &[Rejection]) -> Vec<Group<'_>> {
    let mut groups = Vec::<Group<'_>>::new();
    for rejection in rejections {
        let word = word(rejection);
        match groups.iter_mut().find(|group| group.word == word) {
            Some(group) => group.count += 1,
            None => groups.push(Group { word, count: 1, newest: rejection }),
        }
    }
    groups
}

fn by_cause(context: &Context, rejections: &[Rejection]) -> Markup {
    html! {
        div.table {
            table.cards {
                thead {
                    tr {
                        th scope="col" { "Cause" }
                        th.num scope="col" { "Requests" }
                        th scope="col" { "Last" }
                        th scope="col" { "What to do" }
                    }
                }
                tbody {
                    @for group in groups(rejections) {
                        tr {
                            td.main { (parts::badge(Tone::Bad, group.word)) }
                            td.num data-label="Requests" { (number(group.count)) }
                            td.nowrap data-label="Last" { (parts::dated(group.newest.at, context.now)) }
                            td {
                                @if let Some(advice) = advice(group.newest) { (advice) } @else { (detail(group.newest)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn one_by_one(context: &Context, rejections: &[Rejection]) -> Markup {
    html! {
        div.table {
            table.cards {
                thead {
                    tr {
                        th scope="col" { "When" }
                        th scope="col" { "Cause" }
                        th scope="col" { "From" }
                        th scope="col" { "Request" }
                        th scope="col" { "Trace" }
                    }
                }
                tbody {
                    @for rejection in rejections {
                        tr {
                            td.main { (parts::moment(rejection.at, context.now)) }
                            td data-label="Cause" {
                                div {
                                    (word(rejection))
                                    div.small.muted { (detail(rejection)) }
                                }
                            }
                            td data-label="From" { (from(rejection)) }
                            td data-label="Request" { (request(rejection)) }
                            td.mono data-label="Trace" { (parts::trace(context, &rejection.trace_id)) }
                        }
                    }
                }
            }
        }
    }
}

fn detail(rejection: &Rejection) -> Markup {
    parts::cut(&rejection.detail, MAX_DETAIL_CHARS)
}

fn from(rejection: &Rejection) -> Markup {
    html! { @if let Some(client) = rejection.client { (maud::display(client)) } @else { "unknown" } }
}

fn request(rejection: &Rejection) -> Markup {
    html! {
        (parts::cut(&rejection.method, MAX_TEXT_CHARS)) ", "
        @if let Some(content_type) = &rejection.content_type {
            (parts::cut(content_type, MAX_TEXT_CHARS))
        } @else {
            "no content type"
        }
        ", " (bytes(rejection.body_bytes as u64))
    }
}
