//! The files of deploy/: those for Prometheus and Grafana name only what `/metrics` and the documents have, and the settings
//! pass the check.

mod memory;
mod names;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hookbox::internals::config;
use reqwest::Method;
use serde_json::Value;

use self::names::{Matcher, Selector, grouped_by, selectors};
use crate::api::harness::{Hookbox, Sqlite, eventually};

const RULES: &str = "deploy/prometheus/alerts.yaml";
const RULES_OF_KUBERNETES: &str = "deploy/kubernetes/monitoring/rules.yaml";
const DASHBOARD: &str = "deploy/grafana/hookbox.json";
const SCALER: &str = "deploy/kubernetes/autoscaling/scaled-object.yaml";
const MANUAL: &str = "docs/OPERATIONS.md";

/// Labels that Prometheus adds to what it scrapes.
const OF_PROMETHEUS: [&str; 3] = ["job", "instance", "namespace"];

/// A route with a breaker, and sources of which one verifies its requests.
const SETTINGS: &str = r#"
[[routes]]
name = "orders"
match = { event_type = "order.*" }
handler = "simulate"

[[routes]]
name = "calls"
match = { event_type = "call.*" }
handler = "http"
url = "https://calls.example.com/hooks"

[sources.shop]
preset = "github"
secrets = ["It's a Secret to Everybody"]

[sources.events]
preset = "cloudevents"
"#;

/// A webhook of the source `events`.
const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;

/// The labels of a metric, with their values.
type Labels = BTreeMap<String, BTreeSet<String>>;

fn text_of(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The metrics of a hookbox that has accepted, run, refused and paused something.
async fn metrics() -> BTreeMap<String, Labels> {
    let hookbox = Hookbox::with_routes(Sqlite, SETTINGS);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "completed").await;
    assert_eq!(hookbox.rest.post("/v1/pause?route=calls").await.status, 200);
    for (source, content_type, body) in
        [("shop", "application/json", "{}"), ("events", "application/cloudevents+json", EVENT)]
    {
        let request = hookbox.rest.request(Method::POST, &format!("/v1/sources/{source}/webhooks"));
        request.header("content-type", content_type).body(body).send().await.unwrap();
    }
    // A worker counts as idle a moment after its outcome can be seen.
    eventually("a metric", || async {
        let text = hookbox.rest.get("/metrics").await.text;
        let ended = r#"hookbox_attempt_duration_seconds_count{route="orders",handler="simulate"} 1"#;
        text.contains(ended).then(|| read(&text))
    })
    .await
}

/// The metrics of a text in the format of OpenMetrics.
fn read(text: &str) -> BTreeMap<String, Labels> {
    let mut metrics = BTreeMap::<String, Labels>::new();
    for Selector { metric, matchers } in selectors(text, &["hookbox_", "process_"]) {
        let labels = metrics.entry(metric).or_default();
        for Matcher { label, value } in matchers {
            labels.entry(label).or_default().insert(value);
        }
    }
    metrics
}

/// The expressions of a dashboard.
fn expressions(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => {
            let own = ["expr", "definition"].into_iter().filter_map(|name| members.get(name)?.as_str());
            own.map(str::to_owned).chain(members.values().flat_map(expressions)).collect()
        }
        Value::Array(items) => items.iter().flat_map(expressions).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn rules_and_dashboard_name_only_metrics_labels_and_values_that_there_are() {
    let metrics = metrics().await;
    let dashboard = serde_json::from_str::<Value>(&text_of(DASHBOARD)).unwrap();
    let texts = [text_of(RULES), text_of(SCALER)].into_iter().chain(expressions(&dashboard));
    let (mut wrong, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for text in texts {
        let mut known = BTreeSet::from(OF_PROMETHEUS.map(str::to_owned));
        for Selector { metric, matchers } in selectors(&text, &["hookbox_", "process_"]) {
            let Some(labels) = metrics.get(&metric) else {
                wrong.insert(format!("there is no metric {metric}"));
                continue;
            };
            known.extend(labels.keys().cloned());
            for Matcher { label, value } in matchers {
                if OF_PROMETHEUS.contains(&label.as_str()) {
                    continue;
                }
                let Some(values) = labels.get(&label) else {
                    wrong.insert(format!("{metric} has no label {label}"));
                    continue;
                };
                let values_named = value.split('|').filter(|value| !value.starts_with('$'));
                for value in values_named.filter(|value| !values.contains(*value)) {
                    wrong.insert(format!("{metric} has no {label} {value}; it has {values:?}"));
                }
            }
            seen.insert(metric);
        }
        for label in grouped_by(&text).into_iter().filter(|label| !known.contains(label)) {
            wrong.insert(format!("no metric has the label {label} of {text}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen.len() > 25, "{seen:?}");
}

/// The rules in a file, each as its lines.
fn rules() -> Vec<String> {
    let text = text_of(RULES);
    text.split("\n      - ").skip(1).map(str::to_owned).collect()
}

/// The value of a member of a rule.
fn member<'r>(rule: &'r str, name: &str) -> Option<&'r str> {
    rule.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn every_alert_is_in_the_manual_and_names_a_section_that_there_is() {
    let manual = text_of(MANUAL);
    let headings = manual.lines().filter(|line| line.starts_with('#'));
    let anchors = headings.map(|heading| anchor(heading.trim_start_matches('#').trim())).collect::<Vec<_>>();
    let alerts = rules().into_iter().filter(|rule| rule.starts_with("alert: ")).collect::<Vec<_>>();
    assert!(alerts.len() > 15, "{alerts:#?}");
    for alert in alerts {
        let name = member(&alert, "alert").unwrap();
        assert!(manual.contains(&format!("| `{name}` |")), "{name} is not in a table of {MANUAL}");
        let runbook = member(&alert, "runbook").unwrap_or_else(|| panic!("{name} has no runbook"));
        let (file, section) = runbook.split_once('#').unwrap();
        assert_eq!(file, MANUAL, "{name}");
        assert!(anchors.iter().any(|anchor| anchor == section), "{name}: there is no section {section}");
        assert!(member(&alert, "summary").is_some(), "{name}");
        assert!(matches!(member(&alert, "severity"), Some("critical" | "warning")), "{name}");
    }
}

/// How GitHub names the anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[test]
fn every_limit_of_the_manual_names_the_settings_that_change_it() {
    let manual = text_of(MANUAL);
    let (_, section) = manual.split_once("\n### What a client can make hookbox hold\n").unwrap();
    let table = section.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
    let rows = table.take_while(|line| line.starts_with('|')).collect::<Vec<_>>();
    assert!(rows.len() > 35, "{rows:#?}");
    let is_setting = |name: &str| config::SETTINGS.iter().any(|setting| setting.name == name);
    for row in rows {
        let cells = row.split('|').map(str::trim).collect::<Vec<_>>();
        let ["", _, limit, settings, _, ""] = cells[..] else { panic!("{row} has no four columns") };
        let named = quoted(settings).collect::<Vec<_>>();
        assert!(settings == "–" || !named.is_empty(), "{row}");
        // The others are of the system and of a route.
        let is_known = |name: &str| is_setting(name) || name == "ulimit -n" || name == "concurrency";
        assert!(named.iter().all(|name| is_known(name)), "{row}");
        for name in quoted(limit) {
            assert!(!is_setting(name) || named.contains(&name), "{name}: {row}");
        }
    }
}

/// What is between two backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_alert_has_a_test() {
    let tests = text_of("deploy/prometheus/alerts.test.yaml");
    for rule in rules() {
        let Some(name) = member(&rule, "alert") else { continue };
        let named = format!("alertname: {name}\n");
        let mut expected = tests.split(&named).skip(1).map(str::trim_start);
        assert!(expected.any(|test| !test.starts_with("exp_alerts: []")), "{name} is never raised in a test");
    }
}

#[test]
fn the_rules_for_kubernetes_are_the_same() {
    let rules = text_of(RULES);
    let (_, groups) = rules.split_once("\ngroups:\n").unwrap();
    let indented = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") };
    let indented = groups.lines().map(indented).collect::<String>();
    let of_kubernetes = text_of(RULES_OF_KUBERNETES);
    let (_, spec) = of_kubernetes.split_once("\nspec:\n  groups:\n").unwrap();
    assert!(spec == indented, "copy the rules of {RULES} to {RULES_OF_KUBERNETES}");
}

#[test]
fn the_health_check_of_the_image_waits_as_long_for_the_start_as_that_of_kubernetes() {
    let deployment = text_of("deploy/kubernetes/deployment.yaml");
    let (_, probe) = deployment.split_once("startupProbe:\n").unwrap();
    let number = |name: &str| member(probe, name).unwrap().parse::<u64>().unwrap();
    let minutes = number("periodSeconds") * number("failureThreshold") / 60;
    let dockerfile = text_of("Dockerfile");
    let check = dockerfile.lines().find(|line| line.starts_with("HEALTHCHECK ")).unwrap();
    assert!(check.contains(&format!(" --start-period={minutes}m ")), "{minutes} minutes: {check}");
}

#[test]
fn every_panel_of_the_dashboard_asks_something_and_says_what() {
    let dashboard = serde_json::from_str::<Value>(&text_of(DASHBOARD)).unwrap();
    let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(titles.insert(panel["title"].as_str().unwrap()), "{panel}");
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{panel}");
        }
    }
    assert!(ids.len() > 20, "{ids:?}");
}
