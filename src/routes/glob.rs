//! Globs of sources, event types and routes: `*` matches any run of characters, also `/` and `.`; `?` matches one
//! character.

use std::str::Chars;

use crate::domain::webhook::MAX_NAME_CHARS;

/// A list of globs. It matches a name if any of its globs does; an empty list matches every name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Box<[Glob]>);

impl Names {
    /// Compiles globs that have passed [`check_source`], [`check_route`] or `check`.
    pub fn new(globs: &[String]) -> Self {
        Self(globs.iter().map(|glob| Glob::new(glob)).collect())
    }

    /// Whether the list matches a name.
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|glob| glob.fits(name))
    }

    /// The only name that the list matches, if it is one name without wildcards.
    pub fn only(&self) -> Option<&str> {
        match &*self.0 {
            [Glob::Exact(name)] => Some(name),
            _ => None,
        }
    }

    /// Whether the list has this name literally, not only a glob with wildcards that matches it.
    pub(super) fn has_literal(&self, name: &str) -> bool {
        self.0.iter().any(|glob| matches!(glob, Glob::Exact(exact) if **exact == *name))
    }
}

/// Checks a glob of sources. The error continues the sentence "it must be ...".
pub fn check_source(glob: &str) -> Result<(), String> {
    let possible = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || "-_*?".contains(char);
    if !glob.chars().all(possible) {
        return Err("made of a-z, 0-9, - and _, as sources are, and the wildcards * and ?".to_owned());
    }
    check(glob)
}

/// Checks a glob of routes. The error continues the sentence "it must be ...".
pub fn check_route(glob: &str) -> Result<(), String> {
    let possible = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || "-*?".contains(char);
    if !glob.chars().all(possible) {
        return Err("made of a-z, 0-9 and -, as routes are, and the wildcards * and ?".to_owned());
    }
    check(glob)
}

/// Checks a glob. The error continues the sentence "it must be ...".
pub(super) fn check(glob: &str) -> Result<(), String> {
    if glob.is_empty() || glob.chars().count() > MAX_NAME_CHARS || glob.chars().any(char::is_control) {
        return Err(format!(
            "1 to {MAX_NAME_CHARS} characters without control characters; * matches any run of characters, ? matches one"
        ));
    }
    Ok(())
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Glob {
    /// `*`.
    Any,
    /// Without a wildcard.
    Exact(Box<str>),
    /// With wildcards.
    Pattern(Box<str>),
}

impl Glob {
    fn new(glob: &str) -> Self {
        match glob {
            "*" => Self::Any,
            _ if glob.contains(['*', '?']) => Self::Pattern(glob.into()),
            _ => Self::Exact(glob.into()),
        }
    }

    fn fits(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => **exact == *name,
            Self::Pattern(pattern) => fits(pattern.chars(), name.chars()),
        }
    }
}

/// Whether a pattern matches a name. Backtracks only to the last `*`, so that the work is at most the product
/// of both lengths.
fn fits<'a>(mut pattern: Chars<'a>, mut name: Chars<'a>) -> bool {
    // The pattern after the last `*`, and the part of the name that is tried against it next.
    let mut last_star: Option<(Chars<'a>, Chars<'a>)> = None;
    loop {
        let (mut next_pattern, mut next_name) = (pattern.clone(), name.clone());
        match (next_pattern.next(), next_name.next()) {
            (Some('*'), _) => {
                pattern = next_pattern;
                last_star = Some((pattern.clone(), name.clone()));
            }
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                (pattern, name) = (next_pattern, next_name);
            }
            _ => {
                let Some((behind, left)) = &mut last_star else { return false };
                if left.next().is_none() {
                    return false;
                }
                (pattern, name) = (behind.clone(), left.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_is_any_run_of_characters_and_a_question_mark_is_one() {
        for (glob, name, matches) in [
            ("*", "", true),
            ("orders/*", "orders/created", true),
            ("orders/*", "orders/eu/created.v2", true),
            ("orders/*", "orders/", true),
            ("orders/*", "orders", false),
            ("*.created", "order.created", true),
            ("*.created", "order.created.v2", false),
            ("a*b*c", "aXXbYYbZZc", true),
            ("a*b*c", "aXXbYYbZZ", false),
            ("order?", "order", false),
            ("order?", "orderż", true),
            ("order?", "orders!", false),
            ("Order", "order", false),
        ] {
            assert_eq!(Names::new(&[glob.to_owned()]).matches(name), matches, "{glob} and {name}");
        }
    }

    #[test]
    fn a_list_matches_if_one_pattern_matches_or_if_it_is_empty() {
        let names = Names::new(&["a".to_owned(), "b*".to_owned()]);
        assert!(names.matches("a") && names.matches("bc") && !names.matches("ab"));
        assert!(Names::new(&[]).matches("anything"));
    }

    #[test]
    fn only_a_literal_names_a_name() {
        let names = Names::new(&["*".to_owned(), "hook*".to_owned(), "shop".to_owned()]);
        assert!(names.has_literal("shop") && !names.has_literal("hookbox"));
    }

    /// The definition, in exponential time.
    fn by_definition(pattern: &[char], name: &[char]) -> bool {
        match (pattern.first(), name.first()) {
            (None, None) => true,
            (Some('*'), _) => {
                by_definition(&pattern[1..], name) || (!name.is_empty() && by_definition(pattern, &name[1..]))
            }
            (Some('?'), Some(_)) => by_definition(&pattern[1..], &name[1..]),
            (Some(wanted), Some(found)) => wanted == found && by_definition(&pattern[1..], &name[1..]),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_follows_the_definition(pattern in "[abż*?]{0,8}", name in "[abż]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(
                fits(pattern.chars(), name.chars()),
                by_definition(&chars(&pattern), &chars(&name))
            );
        }
    }

    #[test]
    fn matching_needs_no_more_steps_than_pattern_length_times_name_length() {
        let pattern = format!("{}b", "a*".repeat(127));
        // Exponential work would not end here.
        assert!(!fits(pattern.chars(), "a".repeat(255).chars()));
    }
}
