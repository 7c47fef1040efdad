//! Forms that were sent: within limits, with their token, and by a caller who may.

use axum::Form;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{self, HeaderMap, HeaderValue, header};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::Shared;
use super::context::{Context, FORM_TOKEN, Turned, inner_path};
use crate::access::role_of_form;
use crate::connections::{Arrival, Bodies, Unread};
use crate::domain::error::{Error, Reason, Result};

/// The forms with a body of a webhook.
const WITH_BODY: [&str; 2] = ["/webhooks/{id}/send", "/sources/{source}/test"];

/// The most bytes of a form with a body, as it is sent.
const MAX_FORM_BYTES: usize = 1024 * 1024;

/// The most bytes of any other form. What is made of its fields can take many times as much memory.
pub(super) const MAX_SMALL_FORM_BYTES: usize = 16 * 1024;

/// The media type of forms.
const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";

/// A form that had its token, of a caller with the role that it needs: `Operate`, unless the table of
/// [`role_of_form`] says another. `T` has the fields as members: a field that is not filled in is an empty text.
#[derive(Debug)]
pub(super) struct Action<T>(pub(super) Context, pub(super) T);

impl<T: DeserializeOwned + Send + 'static> FromRequest<Shared> for Action<T> {
    type Rejection = Turned;

    async fn from_request(request: Request, shared: &Shared) -> std::result::Result<Self, Turned> {
        let (mut head, body) = request.into_parts();
        let mut context = Context::from_request_parts(&mut head, shared).await?;
        let path = path_of(&head, shared);
        let role = role_of_form(path);
        let limit = if WITH_BODY.contains(&path) { MAX_FORM_BYTES } else { MAX_SMALL_FORM_BYTES };
        // Before the form arrives, so that strangers take no memory.
        if let Err(error) = context.caller.check_role(role) {
            return Err(context.failed(&error).into());
        }
        match fields(&context, &head.headers, body, limit).await {
            Ok((fields, arrival)) => {
                context.keep(arrival);
                Ok(Self(context, fields))
            }
            Err(FormRefusal::Error(error)) => Err(context.failed(&error).into()),
            Err(FormRefusal::FormToken) => Err(context.without_form_token().into()),
        }
    }
}

/// Why a form is not taken.
enum FormRefusal {
    Error(Error),
    FormToken,
}

impl From<Error> for FormRefusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// The path of the form of a request as the page serves it, such as `/webhooks/{id}/send`.
fn path_of<'a>(head: &'a Parts, shared: &Shared) -> &'a str {
    let path = head.extensions.get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or_default();
    inner_path(path, &shared.pages.base_path)
}

/// The fields of a form of at most `limit` bytes, and its memory.
async fn fields<T: DeserializeOwned>(
    context: &Context,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> std::result::Result<(T, Arrival), FormRefusal> {
    let (form, arrival) = read_form(headers, body, limit, &context.shared.pages.bodies).await?;
    if has_token(context, &form) {
        Ok((deserialized(form).await?, arrival))
    } else {
        Err(FormRefusal::FormToken)
    }
}

/// Whether a form has its token, once.
fn has_token(context: &Context, form: &[u8]) -> bool {
    let mut tokens = form_urlencoded::parse(form).filter(|(name, _)| name == FORM_TOKEN);
    match (tokens.next(), tokens.next()) {
        (Some((_, token)), None) => context.session.is_form_token(&token),
        _ => false,
    }
}

/// The bytes of a form, at most `limit`, if they arrive as fast as other bodies have to. Keep the arrival for as long as
/// what is read of them. Errors: `InvalidField`; `BodyTooLarge`; `BacklogFull` if the memory for bodies is used up.
pub(super) async fn read_form(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    bodies: &Bodies,
) -> Result<(Bytes, Arrival)> {
    let given = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let essence = given.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !essence.eq_ignore_ascii_case(MEDIA_TYPE.as_bytes()) {
        return Err(wrong(&format!("it has to be sent as {MEDIA_TYPE}")));
    }
    bodies.read(body, limit).await.map_err(|unread| match unread {
        Unread::TooLarge => {
            Error::new(Reason::BodyTooLarge, format!("the form has more than {limit} bytes; send less"))
        }
        Unread::TooSlow { .. } => wrong("it arrived too slowly; send it again"),
        Unread::Incomplete(_) => wrong("it did not arrive whole; send it again"),
        Unread::NoMemory(error) => error,
    })
}

async fn deserialized<T: DeserializeOwned>(form: Bytes) -> Result<T> {
    let request = http::Request::post("/").header(header::CONTENT_TYPE, MEDIA_TYPE);
    let request = request.body(Body::from(form)).map_err(Error::internal)?;
    let fields = Form::from_request(request, &()).await;
    fields.map(|Form(fields)| fields).map_err(|rejection| wrong(&rejection.body_text()))
}

/// The error of a form that cannot be read. `problem` says why.
fn wrong(problem: &str) -> Error {
    Error::new(Reason::InvalidField, format!("the form is wrong: {problem}"))
}
