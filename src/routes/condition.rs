//! The `where` of a route: a CEL expression over a webhook, compiled once.
//!
//! It is bounded in length and depth when it is compiled, and in what it may cost when it is
//! evaluated (see [`super::meter`]). No panic of the evaluator gets out.

use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cel::common::types::CelString;
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::parser::PrattParser;
use cel::{Context, Env, IdedExpr, ParseErrors, Value};

use super::body::Node;
use super::meter::{self, METER, Meter, Pattern};
use super::metered::{MAX_DEPTH, Metering, PATTERN};

/// The longest expression, in bytes.
pub(super) const MAX_EXPRESSION_BYTES: usize = 4096;

/// The longest text of an error that is kept.
const MAX_ERROR_BYTES: usize = 300;

/// How deep the parser may go: parentheses cost it levels that the parsed expression does not have.
const PARSER_DEPTH: u16 = 2 * MAX_DEPTH as u16;

/// A compiled expression.
pub(super) struct Condition {
    expression: IdedExpr,
    patterns: Vec<Pattern>,
    environment: Arc<Env>,
    /// Whether it looks at the body.
    pub(super) needs_body: bool,
    /// Whether it looks at the headers.
    pub(super) needs_headers: bool,
}

/// What is wrong with an expression, and at which byte of it, as far as that is known.
pub(super) type Problem = (Option<usize>, String);

/// What an expression can name.
pub(super) struct Variables<'n, 'a> {
    pub(super) source: &'n str,
    pub(super) event_type: &'n str,
    pub(super) key: &'n str,
    pub(super) body: Option<&'n Node<'a>>,
    pub(super) headers: Option<&'n Node<'a>>,
    pub(super) meter: Meter,
}

impl Condition {
    /// Compiles an expression, or says everything that is wrong with it.
    pub(super) fn compile(text: &str, environment: &Arc<Env>) -> Result<Self, Vec<Problem>> {
        if text.len() > MAX_EXPRESSION_BYTES {
            return Err(vec![(None, format!("an expression of at most {MAX_EXPRESSION_BYTES} bytes"))]);
        }
        let parser = PrattParser::new().max_recursion_depth(PARSER_DEPTH);
        let expression = parser.parse(text).map_err(|errors| vec![syntax_problem(text, errors)])?;
        let mut metering = Metering::default();
        let expression = metering.rebuilt_whole(expression);
        if !metering.problems.is_empty() {
            let placed = |(word, problem): (Option<String>, String)| match word {
                Some(word) => (place_of(text, &word), format!("a CEL expression; `{word}`: {problem}")),
                None => (None, format!("a CEL expression; {problem}")),
            };
            return Err(metering.problems.into_iter().map(placed).collect());
        }
        Ok(Self {
            expression,
            patterns: metering.patterns,
            environment: Arc::clone(environment),
            needs_body: metering.needs_body,
            needs_headers: metering.needs_headers,
        })
    }

    /// Whether it is true of a webhook. The error says why that cannot be told.
    pub(super) fn holds(&self, variables: &Variables<'_, '_>) -> Result<bool, String> {
        let evaluation = Evaluation { variables, patterns: &self.patterns };
        let evaluated = catch_unwind(AssertUnwindSafe(|| {
            let mut context = Context::with_env(Arc::clone(&self.environment));
            context.set_variable_resolver(&evaluation);
            // Not `resolve_val`, which would be compiled into this crate, unoptimised in tests, and
            // then take much more stack.
            let value = Value::resolve(&self.expression, &context).map_err(shortened)?;
            Ok(value == Value::Bool(true))
        }));
        // Loops may go over the refusal as over any other error.
        if variables.meter.is_overdrawn() {
            let (one, all) = (meter::BUDGET, meter::WEBHOOK_BUDGET);
            return Err(format!(
                "stopped: it takes more than {one} steps on this webhook, or all routes more than {all}"
            ));
        }
        evaluated.unwrap_or_else(|_| Err("the evaluation panicked; please report it as a bug".to_owned()))
    }
}

struct Evaluation<'n, 'a> {
    variables: &'n Variables<'n, 'a>,
    patterns: &'n [Pattern],
}

impl VariableResolver for Evaluation<'_, '_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let text = |text: &'b str| Some(CowVal::owned(CelString::from(text)));
        let node = |node: Option<&'b Node<'_>>| node.map(|node| CowVal::Borrowed(node.as_val() as &dyn Val));
        match name {
            "source" => text(self.variables.source),
            "event_type" => text(self.variables.event_type),
            "key" => text(self.variables.key),
            "body" => node(self.variables.body),
            "headers" => node(self.variables.headers),
            METER => Some(CowVal::Borrowed(&self.variables.meter)),
            _ => {
                let number = name.strip_prefix(PATTERN)?.parse::<usize>().ok()?;
                Some(CowVal::Borrowed(self.patterns.get(number)?))
            }
        }
    }
}

/// The first error: those behind it mostly follow from it.
fn syntax_problem(text: &str, errors: ParseErrors) -> Problem {
    let Some(error) = errors.errors.into_iter().next() else { return (None, "a CEL expression".to_owned()) };
    let message = error.msg.trim_start_matches("Syntax error: ");
    (offset_of(text, error.pos), format!("a CEL expression; {message}"))
}

/// The byte at a line and column, both from 1.
fn offset_of(text: &str, (line, column): (isize, isize)) -> Option<usize> {
    let (line, column) = (usize::try_from(line).ok()?, usize::try_from(column).ok()?);
    let before = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum::<usize>();
    let within = text.get(before..)?.char_indices().nth(column.checked_sub(1)?).map(|(at, _)| at);
    Some(within.map_or(text.len(), |at| before + at))
}

/// Where a word stands in a text, not as a part of a longer one.
fn place_of(text: &str, word: &str) -> Option<usize> {
    let is_part = |char: char| char.is_alphanumeric() || char == '_';
    let mut places = text.match_indices(word).map(|(at, _)| at);
    places.find(|at| !text[..*at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part))
}

/// The text of an error. It may hold a whole body: no more of it is written than is kept.
fn shortened(error: cel::ExecutionError) -> String {
    struct Short(String);

    impl fmt::Write for Short {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = MAX_ERROR_BYTES.saturating_sub(self.0.len());
            if text.len() <= room {
                self.0.push_str(text);
                return Ok(());
            }
            let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            self.0.push_str(&text[..end]);
            self.0.push_str(" …");
            Err(fmt::Error)
        }
    }

    let mut short = Short(String::new());
    // An error means that it was cut off.
    let _ = write!(short, "{error}");
    short.0
}
