//! Which webhooks a replay is about: as fields of a form, and in words.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use maud::{Markup, html};

use crate::domain::error::{Error, Result};
use crate::domain::job::Status;
use crate::domain::route::RouteName;
use crate::domain::webhook::{EventType, Source};
use crate::page::context::{Context, with_query};
use crate::page::parts;
use crate::service::ReplayFilter;

/// The statuses of jobs that a replay can run again.
pub(super) const STATUSES: [Status; 3] = [Status::DeadLettered, Status::Cancelled, Status::Completed];

/// The most characters of a text of a filter in words.
const MAX_TEXT_CHARS: usize = 100;

/// The fields of the form, as they are filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) statuses: Vec<String>,
    pub(super) route: String,
    pub(super) source: String,
    pub(super) event_type: String,
    pub(super) accepted_after: String,
    pub(super) accepted_before: String,
    pub(super) rate: String,
    pub(super) reason: String,
    /// Whether the jobs are only counted. True unless the form says `false`.
    pub(super) is_dry_run: bool,
}

impl Fields {
    /// Of the fields of a form, or the parameters of a link. Others are left out.
    pub(super) fn of(pairs: &[(String, String)]) -> Self {
        let mut fields = Self { is_dry_run: true, ..Self::default() };
        for (name, value) in pairs {
            let value = value.trim();
            match name.as_str() {
                "status" if !value.is_empty() => fields.statuses.push(value.to_owned()),
                "route" => value.clone_into(&mut fields.route),
                "source" => value.clone_into(&mut fields.source),
                "event_type" => value.clone_into(&mut fields.event_type),
                "accepted_after" => value.clone_into(&mut fields.accepted_after),
                "accepted_before" => value.clone_into(&mut fields.accepted_before),
                "rate" => value.clone_into(&mut fields.rate),
                "reason" => value.clone_into(&mut fields.reason),
                "dry_run" => fields.is_dry_run = value != "false",
                _ => {}
            }
        }
        fields
    }

    /// The filter that they say. Errors: `InvalidField`.
    pub(super) fn filter(&self) -> Result<ReplayFilter> {
        let statuses = self.statuses.iter().map(|word| word.parse::<Status>());
        Ok(ReplayFilter {
            statuses: statuses.collect::<Result<BTreeSet<_>>>()?,
            route: given(&self.route).map(RouteName::new).transpose()?,
            source: given(&self.source).map(Source::new).transpose()?,
            event_type: given(&self.event_type).map(EventType::new).transpose()?,
            accepted_after: time("accepted_after", &self.accepted_after)?,
            accepted_before: time("accepted_before", &self.accepted_before)?,
            ..ReplayFilter::default()
        })
    }
}

/// A field that is filled in.
pub(super) fn given(field: &str) -> Option<&str> {
    Some(field).filter(|field| !field.is_empty())
}

/// A time as browsers write it, which means UTC here, or as RFC 3339 writes it.
fn time(field: &'static str, text: &str) -> Result<Option<Timestamp>> {
    let Some(text) = given(text) else { return Ok(None) };
    let parsed = text.parse::<Timestamp>().or_else(|_| TimeZone::UTC.to_timestamp(text.parse::<DateTime>()?));
    parsed.map(Some).map_err(|_| Error::invalid(field, "must be a time in UTC, such as 2026-03-01T12:00:00Z"))
}

/// The members of a filter as parameters of a link.
fn pairs(filter: &ReplayFilter) -> Vec<(&'static str, String)> {
    let statuses = filter.statuses.iter().map(|status| ("status", status.to_string()));
    let others = [
        ("route", filter.route.as_ref().map(ToString::to_string)),
        ("source", filter.source.as_ref().map(ToString::to_string)),
        ("event_type", filter.event_type.as_ref().map(ToString::to_string)),
        ("verdict", filter.verdict.clone()),
        ("cause", filter.cause.clone()),
        ("idempotency_key", filter.idempotency_key.clone()),
        ("trace_id", filter.trace_id.clone()),
        ("error_contains", filter.error_contains.clone()),
        ("body_pointer", filter.body_pointer.clone()),
        ("body_equals", filter.body_equals.clone()),
        ("body_contains", filter.body_contains.clone()),
        ("accepted_after", filter.accepted_after.map(|time| time.to_string())),
        ("accepted_before", filter.accepted_before.map(|time| time.to_string())),
    ];
    statuses.chain(others.into_iter().filter_map(|(name, value)| Some((name, value?)))).collect()
}

/// The members of a filter that are texts, in words.
fn texts(filter: &ReplayFilter) -> impl Iterator<Item = (&'static str, &str)> {
    let all = [
        ("verdict", &filter.verdict),
        ("cause", &filter.cause),
        ("idempotency key", &filter.idempotency_key),
        ("trace", &filter.trace_id),
        ("error with", &filter.error_contains),
        ("body at", &filter.body_pointer),
        ("body with the value", &filter.body_equals),
        ("body with the text", &filter.body_contains),
    ];
    all.into_iter().filter_map(|(words, text)| Some((words, text.as_deref()?)))
}

/// A filter in words, with a link to its webhooks.
pub(super) fn in_words(context: &Context, filter: &ReplayFilter) -> Markup {
    let pairs = pairs(filter);
    let link = with_query("/webhooks", pairs.iter().map(|(name, value)| (*name, value.as_str())));
    html! {
        @if filter.statuses.is_empty() {
            "Finished jobs"
        } @else {
            @for (at, status) in filter.statuses.iter().enumerate() {
                @if at > 0 { ", " }
                (parts::status_word(*status))
            }
            " jobs"
        }
        @if let Some(route) = &filter.route { " of the route " (parts::route_link(context, route)) }
        @if let Some(source) = &filter.source { " of the source " (parts::source_link(context, source)) }
        @if let Some(event_type) = &filter.event_type { " with the event type " code { (parts::text(event_type.as_str())) } }
        @for (words, text) in texts(filter) { ", " (words) " " code { (parts::cut(text, MAX_TEXT_CHARS)) } }
        @if let Some(after) = filter.accepted_after { ", accepted from " (maud::display(after)) }
        @if let Some(before) = filter.accepted_before { ", accepted before " (maud::display(before)) }
        " · " a href=(context.path(&link)) { "Show their webhooks" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let owned = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Fields::of(&owned.collect::<Vec<_>>())
    }

    #[test]
    fn a_form_is_a_dry_run_unless_it_says_otherwise() {
        assert!(
            fields(&[]).is_dry_run
                && fields(&[("dry_run", "true")]).is_dry_run
                && fields(&[("dry_run", "")]).is_dry_run
        );
        assert!(!fields(&[("dry_run", "false")]).is_dry_run);
    }

    #[test]
    fn a_filter_is_read_as_its_fields_are_written() {
        let written = fields(&[
            ("form_token", "x"),
            ("status", "dead_lettered"),
            ("status", "completed"),
            ("route", " orders "),
            ("source", ""),
            ("accepted_after", "2026-03-01T12:00"),
            ("accepted_before", "2026-03-01T12:00:01.5Z"),
        ]);
        let filter = written.filter().expect("valid");
        let expected = [
            ("status", "completed"),
            ("status", "dead_lettered"),
            ("route", "orders"),
            ("accepted_after", "2026-03-01T12:00:00Z"),
            ("accepted_before", "2026-03-01T12:00:01.5Z"),
        ];
        assert_eq!(pairs(&filter), expected.map(|(name, value)| (name, value.to_owned())));
        for (name, wrong) in [("status", "done"), ("route", "A B"), ("accepted_after", "yesterday")] {
            assert_eq!(fields(&[(name, wrong)]).filter().expect_err(wrong).field(), Some(name));
        }
    }
}
