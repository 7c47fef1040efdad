//! Answers browsers that load a view again and again. For a moment, those that look at the same view share one answer, so
//! that many of them cost as much as one. It is made anew for what a stream of changes ([`live`](super::live)) has found.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::Shared;
use super::context::reader;
use crate::access::Caller;

/// The header by which the script asks for a view that it shows already. Other requests get an answer of their own: what
/// was just done shows in it.
const REFRESH: HeaderName = HeaderName::from_static("hookbox-refresh");

/// For how long after it was made an answer is shared.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// The most answers that are kept at once, and the most bytes of one. Others are not shared.
const MAX_ANSWERS: usize = 32;
const MAX_ANSWER_BYTES: u64 = 256 * 1024;

/// The answers that are shared.
#[derive(Default)]
pub(super) struct Refreshes(Mutex<HashMap<Asked, Place>>);

/// What is asked for. The token of forms is that of one caller, and is in the answer.
#[derive(PartialEq, Eq, Hash)]
struct Asked {
    uri: String,
    form_token: String,
}

/// An answer, locked while it is being made.
type Place = Arc<tokio::sync::Mutex<Option<Answer>>>;

struct Answer {
    /// The monotonic times between which it was made.
    began: Duration,
    ended: Duration,
    caller: Arc<Caller>,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl fmt::Debug for Refreshes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refreshes").finish_non_exhaustive()
    }
}

impl Refreshes {
    /// The place of an answer; none if [`MAX_ANSWERS`] are kept. `now` is monotonic.
    fn place(&self, asked: Asked, now: Duration) -> Option<Place> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|_, place| {
            let is_used = Arc::strong_count(place) > 1;
            is_used
                || place.try_lock().is_ok_and(|kept| kept.as_ref().is_some_and(|answer| answer.is_new(now)))
        });
        if places.len() >= MAX_ANSWERS && !places.contains_key(&asked) {
            return None;
        }
        Some(Arc::clone(places.entry(asked).or_default()))
    }
}

impl Answer {
    fn is_new(&self, now: Duration) -> bool {
        now.saturating_sub(self.ended) < SHARED_FOR
    }

    fn response(&self) -> Response {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }
}

/// Answers requests for a view that a browser shows already, and passes on all others.
pub(super) async fn share(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    if request.method() != Method::GET || !request.headers().contains_key(REFRESH) {
        return next.run(request).await;
    }
    let clock = &shared.pages.clock;
    let (head, body) = request.into_parts();
    let session = match reader(&head, &shared) {
        Ok(session) => session,
        // The view would refuse the token once more.
        Err(turned) => return turned.into_response(),
    };
    let uri = head.uri.to_string();
    let request = Request::from_parts(head, body);
    let asked = Asked { uri, form_token: session.form_token() };
    let Some(place) = shared.refreshes.place(asked, clock.monotonic()) else {
        return next.run(request).await;
    };
    let mut kept = place.lock().await;
    let began = clock.monotonic();
    let has_all = |answer: &&Answer| answer.is_new(began) && answer.began >= shared.live.looked_at();
    // After a reload, a caller with the same token may see something else.
    let is_for = |answer: &&Answer| answer.caller == session.caller;
    if let Some(answer) = kept.as_ref().filter(has_all).filter(is_for) {
        return answer.response();
    }
    *kept = None;
    let response = next.run(request).await;
    let is_small = response.body().size_hint().upper().is_some_and(|bytes| bytes <= MAX_ANSWER_BYTES);
    if !is_small || response.headers().contains_key(header::SET_COOKIE) {
        return response;
    }
    let (head, body) = response.into_parts();
    // It was checked to be small, and is in memory.
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let answer = Answer {
        began,
        ended: clock.monotonic(),
        caller: session.caller,
        status: head.status,
        headers: head.headers,
        body,
    };
    kept.insert(answer).response()
}
