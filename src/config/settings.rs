//! The table of settings. The flags, `hookbox config` and its errors are made of it.

/// One setting. Its name in `hookbox.toml` is `name`, in the environment `HOOKBOX_<NAME>`, as a
/// flag `--<name>` with hyphens.
#[derive(Debug)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// Its value if nothing sets it; empty means not set.
    pub default: &'static str,
    /// What it may be, as the sentence "it must be ..." goes on.
    pub allowed: &'static str,
    /// What it does.
    pub help: &'static str,
}

impl Setting {
    /// Its name in the environment.
    pub fn environment_name(&self) -> String {
        format!("{ENVIRONMENT_PREFIX}{}", self.name.to_ascii_uppercase())
    }

    /// Its name as a flag, without the two hyphens.
    pub fn flag_name(&self) -> String {
        self.name.replace('_', "-")
    }
}

/// What the name of every setting in the environment begins with.
pub(super) const ENVIRONMENT_PREFIX: &str = "HOOKBOX_";

/// Every setting.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "database_url",
        default: "sqlite://hookbox.db",
        allowed: "sqlite://<path of a file>, or postgres://<user>:<password>@<host>:<port>/<database>, with the parameters of libpq behind a ?; or env:<variable> or file:<path> that has it",
        help: "Where webhooks are stored",
    },
    Setting {
        name: "http_addr",
        default: "127.0.0.1:8080",
        allowed: "<IP address>:<port>",
        help: "Where REST is served",
    },
    Setting {
        name: "grpc_addr",
        default: "127.0.0.1:50051",
        allowed: "<IP address>:<port>",
        help: "Where gRPC is served",
    },
    Setting {
        name: "workers",
        default: "128",
        allowed: "a number from 1 to 4096",
        help: "Threads that run handlers, and so how many jobs are processed at once",
    },
    Setting {
        name: "simulate_min",
        default: "2s",
        allowed: "a duration of at most 24h, such as 500ms or 2s",
        help: "The shortest run of the `simulate` handler",
    },
    Setting {
        name: "simulate_max",
        default: "5s",
        allowed: "a duration from simulate_min to 24h, such as 5s",
        help: "The longest run of the `simulate` handler",
    },
    Setting {
        name: "simulate_failure_rate",
        default: "0",
        allowed: "a number from 0 to 1",
        help: "The share of the `simulate` handler's attempts that fail, to try retries",
    },
    Setting {
        name: "max_attempts",
        default: "10",
        allowed: "a number from 1 to 1000",
        help: "Attempts before a job is dead-lettered; of routes that say nothing else",
    },
    Setting {
        name: "retry_base",
        default: "2s",
        allowed: "a duration from 1ms to 24h, such as 2s",
        help: "The longest delay before the second attempt, doubled with every further one; of routes that say nothing else",
    },
    Setting {
        name: "retry_cap",
        default: "1h",
        allowed: "a duration from retry_base to 30d, such as 1h",
        help: "The longest delay before any attempt; of routes that say nothing else",
    },
    Setting {
        name: "lease",
        default: "30s",
        allowed: "a duration from 1s to 24h, such as 30s",
        help: "How long a claim on a job lasts unless it is renewed, which is done at a third of it",
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
        name: "purge_interval",
        default: "60s",
        allowed: "a duration from 100ms to 24h, such as 60s",
        help: "The time between two looks for what is past its retention",
    },
    Setting {
        name: "max_body",
        default: "1MiB",
        allowed: "a size from 1KiB to 256MiB, such as 1MiB",
        help: "The largest body of a request",
    },
    Setting {
        name: "max_backlog",
        default: "1000000",
        allowed: "a number of at least 1",
        help: "Jobs that may be unfinished; webhooks beyond that are answered 503",
    },
    Setting {
        name: "rate_limit",
        default: "",
        allowed: "empty for none, or a number per s, m or h, such as 1000/m",
        help: "Webhooks that each source may send, any number unless set; more are answered 429",
    },
    Setting {
        name: "shutdown_grace",
        default: "30s",
        allowed: "a duration of at most 24h, such as 30s",
        help: "How long running attempts may take to finish at shutdown",
    },
    Setting {
        name: "log",
        default: "info",
        allowed: "a level (error, warn, info, debug, trace), or levels by module such as info,hookbox::store=debug",
        help: "What is logged",
    },
    Setting {
        name: "log_format",
        default: "",
        allowed: "pretty, json, or empty: pretty on a terminal, json elsewhere",
        help: "How log lines are written: pretty on a terminal and json elsewhere, unless set",
    },
];
