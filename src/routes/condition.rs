//! The `where` of a route: a CEL expression about a webhook, compiled once.
//!
//! Compiling limits the length and depth of the expression. Evaluating limits its cost (see
//! [`super::meter`]), and catches panics of the evaluator.

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

/// The longest error text that is stored, in bytes. Longer texts are cut off.
const MAX_ERROR_BYTES: usize = 300;

/// The depth limit of the parser. It is larger than that of expressions, because the parser also counts
/// parentheses, which the parsed expression does not have.
const PARSER_DEPTH: u16 = 2 * MAX_DEPTH as u16;

/// A compiled expression.
pub(super) struct Condition {
    expression: IdedExpr,
    patterns: Vec<Pattern>,
    environment: Arc<Env>,
    /// Whether the expression uses the body.
    pub(super) needs_body: bool,
    /// Whether the expression uses the headers.
    pub(super) needs_headers: bool,
}

/// A mistake in an expression: the byte of the expression at which it is, if that is known, and a text that
/// continues the sentence "it must be ...".
pub(super) type Problem = (Option<usize>, String);

/// The values of the variables of an expression, and the meter for its cost.
pub(super) struct Variables<'n, 'a> {
    pub(super) source: &'n str,
    pub(super) event_type: &'n str,
    pub(super) key: &'n str,
    pub(super) body: Option<&'n Node<'a>>,
    pub(super) headers: Option<&'n Node<'a>>,
    pub(super) meter: Meter,
}

impl Condition {
    /// Compiles an expression. Errors: every mistake in it.
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

    /// Whether the expression is true for a webhook. The error says why it could not be evaluated.
    pub(super) fn holds(&self, variables: &Variables<'_, '_>) -> Result<bool, String> {
        let evaluation = Evaluation { variables, patterns: &self.patterns };
        let evaluated = catch_unwind(AssertUnwindSafe(|| {
            let mut context = Context::with_env(Arc::clone(&self.environment));
            context.set_variable_resolver(&evaluation);
            // `resolve_val` is generic, so it would be compiled in this crate, without optimisation in
            // tests, and would need much more stack.
            let value = Value::resolve(&self.expression, &context).map_err(shortened)?;
            Ok(value == Value::Bool(true))
        }));
        // Asks the meter, because a loop may have swallowed the error of the spent budget like any other.
        if variables.meter.is_overdrawn() {
            let (one, all) = (meter::BUDGET, meter::WEBHOOK_BUDGET);
            return Err(format!(
                "stopped: the expression takes more than {one} steps on this webhook, or the expressions of all routes \
                 together take more than {all}"
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

/// The first syntax error. Further errors mostly follow from the first.
fn syntax_problem(text: &str, errors: ParseErrors) -> Problem {
    let Some(error) = errors.errors.into_iter().next() else { return (None, "a CEL expression".to_owned()) };
    let message = error.msg.trim_start_matches("Syntax error: ");
    (offset_of(text, error.pos), format!("a CEL expression; {message}"))
}

/// The offset in bytes of a line and column, both from 1.
fn offset_of(text: &str, (line, column): (isize, isize)) -> Option<usize> {
    let (line, column) = (usize::try_from(line).ok()?, usize::try_from(column).ok()?);
    let before = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum::<usize>();
    let within = text.get(before..)?.char_indices().nth(column.checked_sub(1)?).map(|(at, _)| at);
    Some(within.map_or(text.len(), |at| before + at))
}

/// The offset in bytes of a word in a text, where it is not part of a longer word.
fn place_of(text: &str, word: &str) -> Option<usize> {
    let is_part = |char: char| char.is_alphanumeric() || char == '_';
    let mut places = text.match_indices(word).map(|(at, _)| at);
    places.find(|at| !text[..*at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part))
}

/// The text of an error, cut off after [`MAX_ERROR_BYTES`]. The full text may contain a whole body, so it is
/// not written at all.
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
    // An error means that the text was cut off.
    let _ = write!(short, "{error}");
    short.0
}
