//! The table of settings. Flags, `hookbox config` and error texts are generated from it.

/// One setting. Its name in `hookbox.toml` is `name`, in the environment `HOOKBOX_<NAME>`, as a
/// flag `--<name>` with hyphens.
#[derive(Debug)]
pub struct Setting {
    /// The name in the settings file.
    pub name: &'static str,
    /// The value if nothing sets it; empty means not set.
    pub default: &'static str,
    /// The allowed values, to continue the sentence "it must be ...".
    pub allowed: &'static str,
    /// What the setting does, for `--help`.
    pub help: &'static str,
}

impl Setting {
    /// The name of its environment variable.
    pub fn environment_name(&self) -> String {
        format!("{ENVIRONMENT_PREFIX}{}", self.name.to_ascii_uppercase())
    }

    /// The name of its flag, without the two hyphens.
    pub fn flag_name(&self) -> String {
        self.name.replace('_', "-")
    }
}

/// The prefix of the environment variables of settings.
pub(super) const ENVIRONMENT_PREFIX: &str = "HOOKBOX_";

/// The environment variable with the token of the commands that talk to a running hookbox. Not a setting.
pub const TOKEN_VARIABLE: &str = "HOOKBOX_TOKEN";

/// The environment variable with the URL of the hookbox that these commands talk to. Not a setting.
pub const URL_VARIABLE: &str = "HOOKBOX_URL";

/// The environment variable with the file of the authorities that these commands trust. Not a setting.
pub const CA_VARIABLE: &str = "HOOKBOX_CA";

/// The environment variable with the file of the certificate that these commands show. Not a setting.
pub const CLIENT_CERT_VARIABLE: &str = "HOOKBOX_CLIENT_CERT";

/// The environment variable with the file of the key of that certificate. Not a setting.
pub const CLIENT_KEY_VARIABLE: &str = "HOOKBOX_CLIENT_KEY";

/// The variables of these commands.
pub(super) const OF_CLIENTS: &[&str] =
    &[TOKEN_VARIABLE, URL_VARIABLE, CA_VARIABLE, CLIENT_CERT_VARIABLE, CLIENT_KEY_VARIABLE];

/// The settings that are secrets. They are not shown.
pub(super) const SECRETS: &[&str] = &["admin_token"];

/// The settings that are lists. Their items are separated by commas; in the settings file the value may also be an
/// array of strings.
pub(super) const LISTS: &[&str] = &["hosts"];

/// Every setting.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "database_url",
        default: "sqlite://hookbox.db",
        allowed: "sqlite://<path of a file>, or postgres://<user>:<password>@<host>:<port>/<database> with libpq parameters after a ?; or env:<variable> or file:<path> that contains the URL",
        help: "URL of the SQLite file or PostgreSQL database that stores webhooks",
    },
    Setting {
        name: "http_addr",
        default: "127.0.0.1:8080",
        allowed: "<IP address>:<port>",
        help: "Address on which REST is served",
    },
    Setting {
        name: "grpc_addr",
        default: "127.0.0.1:50051",
        allowed: "<IP address>:<port>",
        help: "Address on which gRPC is served",
    },
    Setting {
        name: "hosts",
        default: "",
        allowed: "host names and IP addresses, separated by commas, such as hookbox,hookbox.internal",
        help: "Names and addresses by which clients reach REST, besides loopback and the address that they connect to, separated by commas; requests for other hosts are answered 403 [default: no others]",
    },
    Setting {
        name: "public_url",
        default: "",
        allowed: "empty, or an http or https URL without user, query and fragment, such as https://hooks.example.com",
        help: "URL at which senders and browsers reach REST, if it is not http_addr, such as https://hooks.example.com [default: not set]",
    },
    Setting {
        name: "base_path",
        default: "",
        allowed: "empty, or a path such as /hooks that begins with none of hookbox's own paths, of letters, digits, -, _, ., ~ and /",
        help: "Path under which a proxy serves the page, such as /hooks [default: the root]",
    },
    Setting {
        name: "trace_url",
        default: "",
        allowed: "empty, or an http or https URL without user, with {trace_id} where the trace id goes, such as https://jaeger.example.com/trace/{trace_id}",
        help: "URL of a trace in the tool that shows traces, such as https://jaeger.example.com/trace/{trace_id}, to which the page links [default: not set]",
    },
    Setting {
        name: "allow_anonymous",
        default: "false",
        allowed: "true or false",
        help: "Without tokens: whether every client on any machine may use hookbox, and REST answers requests for any host",
    },
    Setting {
        name: "admin_token",
        default: "",
        allowed: "empty, or 16 to 1024 visible ASCII characters, or env:<variable> or file:<path> that contains them",
        help: "Token with every role; with it, or a token in the settings file, requests need a token [default: not set]",
    },
    Setting {
        name: "metrics_open",
        default: "false",
        allowed: "true or false",
        help: "Whether GET /metrics needs no token although other requests need one",
    },
    Setting {
        name: "workers",
        default: "512",
        allowed: "a number from 1 to 4096",
        help: "Threads that run handlers; at most this many jobs run at once in this process",
    },
    Setting {
        name: "simulate_min",
        default: "2s",
        allowed: "a duration of at most 24h, such as 500ms or 2s",
        help: "Shortest run of the handler `simulate`, for routes that do not set it",
    },
    Setting {
        name: "simulate_max",
        default: "5s",
        allowed: "a duration from simulate_min to 24h, such as 5s",
        help: "Longest run of the handler `simulate`, for routes that do not set it",
    },
    Setting {
        name: "simulate_failure_rate",
        default: "0",
        allowed: "a number from 0 to 1",
        help: "Share of the attempts of the handler `simulate` that fail, from 0 to 1, for routes that do not set it",
    },
    Setting {
        name: "max_attempts",
        default: "10",
        allowed: "a number from 1 to 1000",
        help: "Attempts before a job is dead-lettered, for routes that do not set it",
    },
    Setting {
        name: "retry_base",
        default: "2s",
        allowed: "a duration from 1ms to 24h, such as 2s",
        help: "Longest delay after the first failed attempt, doubled with each further failure, for routes that do not set it",
    },
    Setting {
        name: "retry_cap",
        default: "1h",
        allowed: "a duration from retry_base to 30d, such as 1h",
        help: "Longest delay after any failed attempt, for routes that do not set it",
    },
    Setting {
        name: "lease",
        default: "30s",
        allowed: "a duration from 1s to 24h, such as 30s",
        help: "How long a claim on a job lasts unless it is renewed; it is renewed after a third of that time",
    },
    Setting {
        name: "retention_completed",
        default: "7d",
        allowed: "a duration of at most 100 years, such as 12h or 7d",
        help: "How long the payload of a completed or filtered webhook is kept",
    },
    Setting {
        name: "retention_dead_lettered",
        default: "30d",
        allowed: "a duration of at most 100 years, such as 12h or 30d",
        help: "How long the payload of a dead-lettered or cancelled webhook is kept",
    },
    Setting {
        name: "retention_keys",
        default: "30d",
        allowed: "a duration of at most 100 years, and at least retention_completed and retention_dead_lettered",
        help: "How long the key of a finished webhook is kept, and so how long duplicates are recognised",
    },
    Setting {
        name: "retention_quarantined",
        default: "7d",
        allowed: "a duration of at most 100 years, such as 12h or 7d",
        help: "How long a webhook that was not verified is kept in quarantine",
    },
    Setting {
        name: "retention_actions",
        default: "90d",
        allowed: "a duration of at most 100 years, such as 30d",
        help: "How long the actions of operators are kept",
    },
    Setting {
        name: "purge_interval",
        default: "60s",
        allowed: "a duration from 100ms to 24h, such as 60s",
        help: "Time between two removals of payloads, webhooks and actions that are past their retention",
    },
    Setting {
        name: "max_body",
        default: "1MiB",
        allowed: "a size from 1KiB to 256MiB, such as 1MiB",
        help: "Largest body of a request; a larger one is answered 413",
    },
    Setting {
        name: "max_backlog",
        default: "1000000",
        allowed: "a number of at least 1",
        help: "How many jobs may be unfinished; further webhooks are answered 503",
    },
    Setting {
        name: "backlog_alert",
        default: "0.8",
        allowed: "a number from 0.01 to 1",
        help: "Share of max_backlog at which the alert hookbox.backlog_high is sent, from 0.01 to 1",
    },
    Setting {
        name: "rate_limit",
        default: "",
        allowed: "empty for no limit, or a number per s, m or h, such as 1000/m",
        help: "How many webhooks each source may send, such as 1000/m; further ones are answered 429, at the URL of a source 503 [default: no limit]",
    },
    Setting {
        name: "startup_wait",
        default: "30s",
        allowed: "a duration of at most 24h, such as 30s",
        help: "How long to try to reach the PostgreSQL server at the start",
    },
    Setting {
        name: "shutdown_delay",
        default: "",
        allowed: "a duration of at most 1h, such as 5s, or empty: 0s if both addresses are loopback addresses, else 5s",
        help: "How long to go on serving at shutdown while /readyz already answers 503 [default: 5s; 0s on loopback]",
    },
    Setting {
        name: "shutdown_grace",
        default: "30s",
        allowed: "a duration of at most 24h, such as 30s",
        help: "How long running attempts may take to finish at shutdown before they are told to stop",
    },
    Setting {
        name: "log",
        default: "info",
        allowed: "a level (error, warn, info, debug, trace, off), or levels by module such as info,hookbox::store=debug",
        help: "Lowest level that is logged, or levels by module such as info,hookbox::store=debug",
    },
    Setting {
        name: "log_format",
        default: "",
        allowed: "pretty, json, or empty: pretty on a terminal, json elsewhere",
        help: "Format of log lines, pretty or json [default: pretty on a terminal, json elsewhere]",
    },
];
