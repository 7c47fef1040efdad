//! The settings files of deploy/ and examples/, and what the other files mount and name for them.

use std::path::{Path, PathBuf};

use hookbox::internals::config::{Config, HANDLERS, Layers, Listening};
use tempfile::TempDir;

use super::{member, text_of};
use crate::support::tls::Authority;

/// The handler of examples/handler.rs.
const OF_EXAMPLE: &str = "price-order";

/// The variables that the settings name, and what the files of deploy/ set in the environment.
const ENVIRONMENT: [(&str, &str); 8] = [
    ("HOOKBOX_HTTP_ADDR", "0.0.0.0:8080"),
    ("HOOKBOX_GRPC_ADDR", "0.0.0.0:50051"),
    ("HOOKBOX_ADMIN_TOKEN", "hbx_the-token-of-the-test"),
    ("STRIPE_SECRET", "s3cret"),
    ("ERP_SECRET", "s3cret"),
    ("BILLING_SECRET", "s3cret"),
    ("SLACK_URL", "https://hooks.example.com/s3cret"),
    ("HOME", "/srv"),
];

/// The files with settings in a folder of the repository.
fn settings_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found = entries.flat_map(|path| if path.is_dir() { settings_files(&path) } else { vec![path] });
    found.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
}

/// The settings with the tables that are comments.
fn with_comments(text: &str) -> String {
    let mut is_table = false;
    let mut all = String::new();
    for line in text.lines() {
        let comment = line.strip_prefix("# ");
        is_table = comment.is_some_and(|comment| is_table || comment.starts_with('['));
        all.push_str(comment.filter(|_| is_table).unwrap_or(line));
        all.push('\n');
    }
    all
}

/// Does what `hookbox config check` does.
fn check(path: &Path) -> Result<(), String> {
    let environment = ENVIRONMENT.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let layers = Layers::read(Some(path), environment, []).map_err(|mistakes| mistakes.to_string())?;
    let handlers = [HANDLERS, &[OF_EXAMPLE]].concat();
    let config = Config::protected(&layers, &handlers, Listening::from_start(&layers));
    config.map(drop).map_err(|mistakes| mistakes.to_string())
}

#[test]
fn every_settings_file_passes_the_check_also_with_the_tables_that_are_comments() {
    let (folder, authority) = (TempDir::new().unwrap(), Authority::new());
    let issued = authority.issue();
    for (name, text) in [
        ("tls.crt", issued.cert.as_str()),
        ("tls.key", &issued.key),
        ("clients.crt", &authority.pem()),
        ("billing-token", "Bearer s3cret"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let place = format!("{}/", folder.path().display());
    let digest = format!("\"{}\"", "0123456789abcdef".repeat(4));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["deploy", "examples"].map(|folder| settings_files(&root.join(folder))).concat();
    assert!(files.len() > 3, "{files:?}");
    for file in files {
        assert_eq!(check(&file), Ok(()));
        let mut text = with_comments(&std::fs::read_to_string(&file).unwrap());
        for folder in ["/etc/hookbox/", "/etc/hookbox-tls/", "/run/secrets/"] {
            text = text.replace(folder, &place);
        }
        let whole = folder.path().join("hookbox.toml");
        std::fs::write(&whole, text.replace("\"...\"", &digest)).unwrap();
        assert_eq!(check(&whole), Ok(()), "the comments of {}", file.display());
    }
}

#[test]
fn the_settings_of_kubernetes_name_the_files_that_its_component_for_tls_mounts() {
    let deployment = text_of("deploy/kubernetes/tls/deployment.yaml");
    let mount = member(&deployment, "mountPath").unwrap();
    let settings = with_comments(&text_of("deploy/kubernetes/hookbox.toml"));
    // The names are those of a Secret of the type kubernetes.io/tls.
    let table = format!("\n[tls]\ncert = \"{mount}/tls.crt\"\nkey = \"{mount}/tls.key\"\n");
    assert!(settings.contains(&table), "{table} in {settings}");
    // Each probe of the Deployment speaks HTTPS then.
    let probes = text_of("deploy/kubernetes/deployment.yaml").matches("httpGet:").count();
    assert_eq!((probes, deployment.matches("scheme: HTTPS").count()), (3, 3));
}

#[test]
fn prometheus_of_compose_has_a_token_of_its_own() {
    let compose = text_of("deploy/compose.yaml");
    let (_, prometheus) = compose.split_once("\n  prometheus:\n").unwrap();
    let (of_admin, own) =
        ("HOOKBOX_ADMIN_TOKEN", "  hookbox_metrics:\n    environment: HOOKBOX_METRICS_TOKEN\n");
    assert!(prometheus.contains(own) && !prometheus.contains(of_admin), "{prometheus}");
    let scraped = text_of("deploy/prometheus/prometheus.yaml");
    assert_eq!(member(&scraped, "credentials_file"), Some("/run/secrets/hookbox_metrics"));
}
