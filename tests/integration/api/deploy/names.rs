//! Finds what expressions of Prometheus name: metrics, the labels that they match, and those that they group by.

/// A metric, and the labels that are matched.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selector {
    pub(super) metric: String,
    pub(super) matchers: Vec<Matcher>,
}

/// A label, and its value or pattern.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Matcher {
    pub(super) label: String,
    pub(super) value: String,
}

/// Every metric of a text whose name begins with one of these prefixes, in its order. The names that rules record have
/// a colon, and are none. Lines of comments are left out.
pub(super) fn selectors(text: &str, prefixes: &[&str]) -> Vec<Selector> {
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let mut rest = line;
        while let Some(start) = rest.find(is_of_name) {
            let end = rest[start..].find(|c| !is_of_name(c)).map_or(rest.len(), |length| start + length);
            let name = &rest[start..end];
            rest = &rest[end..];
            if name.contains(':') || !prefixes.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            let matchers = rest.strip_prefix('{').map(matchers).unwrap_or_default();
            found.push(Selector { metric: name.to_owned(), matchers });
        }
    }
    found
}

/// The matchers up to the closing brace. Values have no quotes in them.
fn matchers(text: &str) -> Vec<Matcher> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((label, value)) = rest.split_once('"').filter(|(label, _)| !label.contains('}')) {
        let (value, after) = value.split_once('"').expect("a closing quote");
        let label = label.trim_start_matches([',', ' ']).trim_end_matches(['=', '~', '!']);
        found.push(Matcher { label: label.to_owned(), value: value.to_owned() });
        rest = after;
    }
    found
}

/// The labels of every `by (…)` and `on (…)` of a text.
pub(super) fn grouped_by(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for group in [" by (", " on ("].into_iter().flat_map(|word| text.split(word).skip(1)) {
        let labels = group.split(')').next().unwrap_or_default();
        found.extend(labels.split(',').map(|label| label.trim().to_owned()).filter(|label| label != "le"));
    }
    found
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

#[test]
fn what_an_expression_names_is_found() {
    let expression = r#"
        # hookbox_comment
        sum by (job, le) (rate(hookbox_a_total{job="$job", outcome=~"x|y"}[5m]))
        / hookbox_b{} > hookbox:c:sum unless on (route) other_d
    "#;
    let matcher = |label: &str, value: &str| Matcher { label: label.to_owned(), value: value.to_owned() };
    let a = Selector {
        metric: "hookbox_a_total".to_owned(),
        matchers: vec![matcher("job", "$job"), matcher("outcome", "x|y")],
    };
    let b = Selector { metric: "hookbox_b".to_owned(), matchers: Vec::new() };
    assert_eq!(selectors(expression, &["hookbox_"]), [a, b]);
    assert_eq!(grouped_by(expression), ["job", "route"]);
}
