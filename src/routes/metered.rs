//! Checks a parsed expression, and inserts calls that charge for its cost (see [`super::meter`]).

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators};
use regex::{Regex, RegexBuilder};

use super::meter::{ANSWER, CHARGE, EACH, EQUAL, MATCH, METER, Pattern, WITHIN};

/// How many levels deep operators, calls and loops may nest.
pub(super) const MAX_DEPTH: usize = 48;

/// The largest size of a compiled pattern, in bytes.
const PATTERN_BYTES: usize = 256 * 1024;

/// The variables that an expression can use.
pub(super) const VARIABLES: [&str; 5] = ["source", "event_type", "key", "body", "headers"];

/// The prefix of the variables that hold compiled patterns; the number of the pattern follows.
pub(super) const PATTERN: &str = "@pattern";

const TYPES: [&str; 9] = ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"];

const FUNCTIONS: [&str; 14] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
    "has",
];

/// A mistake in an expression: the word that is wrong, if it is a word, and a text about it.
pub(super) type Problem = (Option<String>, String);

/// Walks over an expression once, and rebuilds it.
#[derive(Default)]
pub(super) struct Metering {
    /// The variables of the enclosing loops.
    loops: Vec<String>,
    depth: usize,
    /// How many nodes the step of the current loop has so far, which is the cost of a step.
    nodes: u64,
    /// The compiled patterns, by number.
    pub(super) patterns: Vec<Pattern>,
    /// Whether the expression uses the body.
    pub(super) needs_body: bool,
    /// Whether the expression uses the headers.
    pub(super) needs_headers: bool,
    /// All mistakes.
    pub(super) problems: Vec<Problem>,
}

impl Metering {
    /// Rebuilds a whole expression, so that it fails unless its result is a `bool`.
    pub(super) fn rebuilt_whole(&mut self, expression: IdedExpr) -> IdedExpr {
        let expression = self.rebuilt(expression);
        call(ANSWER, vec![expression])
    }

    fn rebuilt(&mut self, node: IdedExpr) -> IdedExpr {
        self.nodes += 1;
        self.depth += 1;
        let expr = if self.depth > MAX_DEPTH {
            self.wrong(None, format!("the expression nests more than {MAX_DEPTH} levels deep"));
            node.expr
        } else {
            self.rebuilt_expr(node.expr)
        };
        self.depth -= 1;
        IdedExpr { id: node.id, expr }
    }

    fn rebuilt_expr(&mut self, expr: Expr) -> Expr {
        match expr {
            Expr::Ident(name) => {
                self.look_up(&name);
                Expr::Ident(name)
            }
            Expr::Select(mut select) => {
                *select.operand = self.rebuilt(*select.operand);
                Expr::Select(select)
            }
            Expr::List(mut list) => {
                list.elements = list.elements.into_iter().map(|item| self.charged(item)).collect();
                Expr::List(list)
            }
            Expr::Map(mut map) => {
                for entry in &mut map.entries {
                    if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                        entry.key = self.charged(std::mem::take(&mut entry.key));
                        entry.value = self.charged(std::mem::take(&mut entry.value));
                    }
                }
                Expr::Map(map)
            }
            Expr::Comprehension(comprehension) => self.rebuilt_loop(*comprehension),
            Expr::Call(call) => self.rebuilt_call(call),
            Expr::Struct(message) => {
                self.wrong(Some(message.type_name.clone()), "message types are not supported".to_owned());
                Expr::Struct(message)
            }
            Expr::Literal(_) | Expr::Unspecified => expr,
        }
    }

    /// Charges for all steps of a loop before the first step. The step keeps the shape that its macro has
    /// made, because CEL recognises loops by that shape.
    fn rebuilt_loop(&mut self, mut comprehension: ComprehensionExpr) -> Expr {
        let range = self.rebuilt(comprehension.iter_range);
        self.loops.push(comprehension.iter_var.clone());
        let before = std::mem::take(&mut self.nodes);
        comprehension.loop_step = self.rebuilt(comprehension.loop_step);
        let step = self.nodes;
        self.nodes += before;
        self.loops.pop();
        let step = Expr::Literal(LiteralValue::Int(i64::try_from(step).unwrap_or(i64::MAX).into()));
        comprehension.iter_range = call(EACH, vec![meter(), range, unnumbered(step)]);
        Expr::Comprehension(Box::new(comprehension))
    }

    fn rebuilt_call(&mut self, mut call: CallExpr) -> Expr {
        let function = call.func_name.as_str();
        match function {
            operators::LOGICAL_AND
            | operators::LOGICAL_OR
            | operators::LOGICAL_NOT
            | operators::CONDITIONAL
            | operators::NOT_STRICTLY_FALSE => {
                call.args = call.args.into_iter().map(|arg| self.rebuilt(arg)).collect();
            }
            operators::EQUALS => return self.with_meter(EQUAL, call.args),
            operators::NOT_EQUALS => {
                let equal = unnumbered(self.with_meter(EQUAL, call.args));
                return call_expr(operators::LOGICAL_NOT, vec![equal]);
            }
            operators::IN => return self.with_meter(WITHIN, call.args),
            // The collection is not charged for: an index neither reads all of it nor copies it.
            operators::INDEX => {
                let mut args = call.args.into_iter();
                let collection = args.next().map(|collection| self.rebuilt(collection));
                call.args = collection.into_iter().chain(args.map(|index| self.charged(index))).collect();
            }
            // The list in which a loop gathers its result; the loop has been charged for it.
            operators::ADD if call.args.first().is_some_and(is_gathered) => {
                call.args = call.args.into_iter().map(|arg| self.rebuilt(arg)).collect();
            }
            "matches" => return self.rebuilt_matches(call),
            _ => {
                self.check_function(function);
                call.target = call.target.take().map(|target| Box::new(self.charged(*target)));
                call.args = call.args.into_iter().map(|arg| self.charged(arg)).collect();
            }
        }
        Expr::Call(call)
    }

    /// `text.matches("pattern")` or `matches(text, "pattern")`. The pattern is compiled here, once.
    fn rebuilt_matches(&mut self, matches: CallExpr) -> Expr {
        let mut parts = matches.target.map(|target| *target).into_iter().chain(matches.args);
        let (text, pattern, more) = (parts.next(), parts.next().map(|pattern| pattern.expr), parts.next());
        let (Some(text), Some(Expr::Literal(LiteralValue::String(pattern))), None) = (text, pattern, more)
        else {
            let problem = "the pattern must be one string literal, because patterns are compiled when the settings are \
                           read";
            self.wrong(Some("matches".to_owned()), problem.to_owned());
            return Expr::Unspecified;
        };
        match compiled(pattern.inner()) {
            Ok(pattern) => self.patterns.push(Pattern(pattern)),
            Err(problem) => self.wrong(Some(pattern.inner().to_owned()), problem),
        }
        let name = format!("{PATTERN}{}", self.patterns.len().saturating_sub(1));
        let text = self.rebuilt(text);
        call_expr(MATCH, vec![meter(), text, unnumbered(Expr::Ident(name))])
    }

    /// A node whose value is charged for by its size. Literals cost nothing.
    fn charged(&mut self, node: IdedExpr) -> IdedExpr {
        if matches!(node.expr, Expr::Literal(_)) {
            return self.rebuilt(node);
        }
        let value = self.rebuilt(node);
        call(CHARGE, vec![meter(), value])
    }

    fn with_meter(&mut self, function: &str, args: Vec<IdedExpr>) -> Expr {
        let args = args.into_iter().map(|arg| self.rebuilt(arg));
        call_expr(function, std::iter::once(meter()).chain(args).collect())
    }

    fn look_up(&mut self, name: &str) {
        let name = name.trim_start_matches('.');
        if name.starts_with('@')
            || self.loops.iter().any(|variable| variable == name)
            || TYPES.contains(&name)
        {
            return;
        }
        self.needs_body |= name == "body";
        self.needs_headers |= name == "headers";
        if !VARIABLES.contains(&name) {
            let known = VARIABLES.join(", ");
            self.wrong(Some(name.to_owned()), format!("there is no such variable; use one of {known}"));
        }
    }

    fn check_function(&mut self, function: &str) {
        let is_operator = function.contains(|char: char| !char.is_alphanumeric() && char != '_');
        if !is_operator && !FUNCTIONS.contains(&function) {
            let known = FUNCTIONS.join(", ");
            self.wrong(Some(function.to_owned()), format!("there is no such function; use one of {known}"));
        }
    }

    fn wrong(&mut self, word: Option<String>, problem: String) {
        if !self.problems.iter().any(|known| known.0 == word && known.1 == problem) {
            self.problems.push((word, problem));
        }
    }
}

fn compiled(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the pattern is too large".to_owned(),
        // The last line has the message; the lines before it show the place in the pattern.
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("the pattern is not a valid regular expression: {last}")
        }
    })
}

/// Whether a node is the variable in which a loop gathers its result. No expression can name that variable.
fn is_gathered(node: &IdedExpr) -> bool {
    matches!(&node.expr, Expr::Ident(name) if name.starts_with('@'))
}

fn meter() -> IdedExpr {
    unnumbered(Expr::Ident(METER.to_owned()))
}

fn call(function: &str, args: Vec<IdedExpr>) -> IdedExpr {
    unnumbered(call_expr(function, args))
}

fn call_expr(function: &str, args: Vec<IdedExpr>) -> Expr {
    Expr::Call(CallExpr { func_name: function.to_owned(), target: None, args })
}

/// A node that is not in the text of the expression, and so has no number.
fn unnumbered(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}
