//! Charts as SVG, drawn on the server. They need no script, and what they show is said in words, too.

use std::fmt::Write as _;

use maud::{Markup, html};

use crate::telemetry::history::POINTS;

/// The height of a chart, in units of its own. The width is one unit for each point.
const HEIGHT: f64 = 100.0;

/// The size of a small chart.
const SPARK: (f64, f64) = (120.0, 24.0);

/// A line of a chart.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    /// What it shows.
    pub(super) name: &'a str,
    /// The values, the oldest first. None where nothing is known.
    pub(super) values: Vec<Option<f64>>,
}

/// A chart of the last 60 minutes, with at most three lines of at most [`POINTS`] values. `show` writes a value with its unit.
pub(super) fn chart(title: &str, lines: &[Line<'_>], show: impl Fn(f64) -> String) -> Markup {
    let known = || lines.iter().flat_map(|line| line.values.iter().flatten().copied());
    let highest = known().fold(0.0, f64::max);
    let scale = if highest > 0.0 { HEIGHT / highest } else { 0.0 };
    let view = format!("0 0 {} {HEIGHT}", POINTS - 1);
    html! {
        figure.chart {
            figcaption {
                span.title { (title) }
                @for (number, line) in lines.iter().enumerate() {
                    span.key {
                        span class=(format_args!("dot s{}", number + 1)) {}
                        (line.name) " " b { (last(line).map_or_else(|| "–".to_owned(), &show)) }
                    }
                }
            }
            @if known().next().is_none() {
                p.none { "No data in the last 60 minutes." }
            } @else {
                div.plot {
                    span.top { (show(highest)) }
                    svg viewBox=(view) preserveAspectRatio="none" role="img"
                        aria-label=(said(title, lines, &show)) {
                        path.rule d=(format_args!("M0 0H{0}M0 50H{0}M0 100H{0}", POINTS - 1)) {}
                        @for (number, line) in lines.iter().enumerate() {
                            @let Drawn { line, dots } = drawn(&line.values, scale);
                            path class=(format_args!("line s{}", number + 1)) d=(line) {}
                            @if !dots.is_empty() { path class=(format_args!("line dots s{}", number + 1)) d=(dots) {} }
                        }
                    }
                    span.from { "60 min ago" }
                    span.to { "now" }
                }
            }
        }
    }
}

/// A small chart of counts, without a scale. It is hidden from screen readers.
pub(super) fn spark(counts: &[u64]) -> Markup {
    // A bar for each 4 minutes is as much as is told apart at this size.
    const BARS: usize = 30;
    let per_bar = POINTS / BARS;
    let missing = POINTS.saturating_sub(counts.len());
    let mut bars = [0_u64; BARS];
    for (number, count) in counts.iter().enumerate() {
        if let Some(bar) = bars.get_mut((missing + number) / per_bar) {
            *bar += count;
        }
    }
    let highest = bars.iter().copied().max().unwrap_or_default();
    let (width, height) = SPARK;
    let step = width / BARS as f64;
    let mut path = String::new();
    for (number, bar) in bars.iter().enumerate().filter(|(_, bar)| **bar > 0) {
        let length = (*bar as f64 / highest as f64 * height).max(1.0);
        // Writing to a string does not fail.
        let _ = write!(path, "M{:.0} {height}v-{length:.1}", number as f64 * step + step / 2.0);
    }
    html! {
        svg.spark viewBox=(format_args!("0 0 {width} {height}")) width=(width) height=(height)
            aria-hidden="true" {
            path d=(path) {}
        }
    }
}

/// The chart in words.
fn said(title: &str, lines: &[Line<'_>], show: impl Fn(f64) -> String) -> String {
    let mut said = format!("{title}, the last 60 minutes.");
    for line in lines {
        let highest = line.values.iter().flatten().copied().reduce(f64::max);
        let text = |value: Option<f64>| value.map_or_else(|| "unknown".to_owned(), &show);
        let _ = write!(said, " {}: {} now, {} at most.", line.name, text(last(line)), text(highest));
    }
    said
}

/// The newest value of a line.
fn last(line: &Line<'_>) -> Option<f64> {
    line.values.last().copied().flatten()
}

/// What is drawn of a line.
#[derive(Debug, PartialEq, Eq)]
struct Drawn {
    /// The line. It begins anew after a gap.
    line: String,
    /// The values between two gaps, each as a line without a length. A wide pen with a round end makes dots of them.
    dots: String,
}

fn drawn(values: &[Option<f64>], scale: f64) -> Drawn {
    let mut drawn = Drawn { line: String::new(), dots: String::new() };
    let first = POINTS.saturating_sub(values.len());
    let mut is_on = false;
    for (number, value) in values.iter().enumerate() {
        let Some(value) = value else {
            is_on = false;
            continue;
        };
        let x = (first + number).min(POINTS - 1);
        let y = HEIGHT - value * scale;
        let is_alone = !is_on && values.get(number + 1).copied().flatten().is_none();
        let command = if is_on { 'L' } else { 'M' };
        let _ = if is_alone {
            write!(drawn.dots, "M{x} {y:.1}h0")
        } else {
            write!(drawn.line, "{command}{x} {y:.1}")
        };
        is_on = true;
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_at_now_and_has_gaps_where_nothing_is_known() {
        let values = [Some(1.0), Some(2.0), None, Some(4.0), None, Some(0.0), Some(3.0)];
        let expected =
            Drawn { line: "M233 75.0L234 50.0M238 100.0L239 25.0".to_owned(), dots: "M236 0.0h0".to_owned() };
        assert_eq!(drawn(&values, 25.0), expected);
        assert_eq!(drawn(&[], 1.0).line, "");
        let all = drawn(&[Some(1.0); POINTS], 1.0);
        assert!(all.line.starts_with("M0 99.0L1 99.0") && all.line.ends_with("L239 99.0"));
        assert_eq!(all.dots, "");
    }

    #[test]
    fn a_chart_says_what_it_shows() {
        let line = |name, values: &[f64]| Line { name, values: values.iter().copied().map(Some).collect() };
        let show = |value: f64| format!("{value:.1}/s");
        let drawn = chart("Rate", &[line("in", &[2.0, 1.5]), line("out", &[])], show).0;
        let said = "Rate, the last 60 minutes. in: 1.5/s now, 2.0/s at most. out: unknown now";
        assert!(drawn.contains(said), "{drawn}");
        assert!(drawn.contains("<path class=\"line s1\" d=\"M238 0.0L239 25.0\">"), "{drawn}");
        assert!(chart("Rate", &[line("in", &[])], show).0.contains("No data in the last 60 minutes."));
    }

    #[test]
    fn a_small_chart_has_a_bar_for_each_four_minutes() {
        let drawn = spark(&[0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 10]).0;
        assert!(drawn.contains("d=\"M118 24v-24.0\""), "{drawn}");
        assert!(!spark(&[]).0.contains("M1"));
    }
}
