//! A connection that a test can use from anywhere.
//!
//! It lives in a thread and a runtime of its own: a call blocks its caller and nothing else, so it
//! is also safe in a destructor and inside of another runtime.

use std::error::Error;
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// How long a connection may take to open.
const CONNECT_TIME: Duration = Duration::from_secs(30);

/// How long a statement may take. Longer means that it waits for something that will not come.
const ANSWER_TIME: Duration = Duration::from_secs(120);

/// Finds the tables of hookbox without their schema.
const TABLES: &str = "SELECT set_config('search_path', 'hookbox, ' || current_setting('search_path'), false)";

/// An open connection, closed when it and its clones are dropped.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    requests: UnboundedSender<Request>,
}

type Answer = Result<Vec<String>, String>;

#[derive(Debug)]
struct Request {
    sql: String,
    answer: mpsc::Sender<Answer>,
}

impl Session {
    /// Connects to the database of a URL. The error says what is wrong, without the URL, which may
    /// hold a password.
    pub(crate) fn open(url: &str) -> Result<Self, String> {
        let config: Config = url.parse().map_err(|error| explain(&error))?;
        let (requests, received) = unbounded_channel();
        let (opened, is_open) = mpsc::channel();
        std::thread::Builder::new()
            .name("postgres-session".to_owned())
            .spawn(move || serve(&config, &opened, received))
            .map_err(|error| error.to_string())?;
        is_open.recv().map_err(|_| "the thread of the session ended".to_owned())??;
        Ok(Self { requests })
    }

    /// Runs SQL and answers with the first column of every row, null as nothing.
    pub(crate) fn ask(&self, sql: &str) -> Answer {
        let (answer, answered) = mpsc::channel();
        let request = Request { sql: sql.to_owned(), answer };
        self.requests.send(request).map_err(|_| "the session has ended".to_owned())?;
        answered.recv_timeout(ANSWER_TIME).map_err(|error| format!("no answer to `{sql}`: {error}"))?
    }
}

/// Connects, says how that went, and runs what is asked until the senders of requests are gone.
fn serve(config: &Config, opened: &mpsc::Sender<Result<(), String>>, requests: UnboundedReceiver<Request>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(opened.send(Err(error.to_string()))),
    };
    runtime.block_on(async {
        let (client, connection) = match tokio::time::timeout(CONNECT_TIME, config.connect(NoTls)).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => return drop(opened.send(Err(explain(&error)))),
            Err(_) => return drop(opened.send(Err(format!("no connection after {CONNECT_TIME:?}")))),
        };
        let connection = tokio::spawn(connection);
        if let Err(error) = client.batch_execute(TABLES).await {
            return drop(opened.send(Err(explain(&error))));
        }
        drop(opened.send(Ok(())));
        answer_all(client, requests).await;
        // Ends once it has said goodbye to the server.
        drop(connection.await);
    });
}

async fn answer_all(client: Client, mut requests: UnboundedReceiver<Request>) {
    while let Some(Request { sql, answer }) = requests.recv().await {
        let messages = client.simple_query(&sql).await.map_err(|error| explain(&error));
        // The asker has given up after `ANSWER_TIME`.
        drop(answer.send(messages.map(|messages| messages.iter().filter_map(first_column).collect())));
    }
}

fn first_column(message: &SimpleQueryMessage) -> Option<String> {
    match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
        _ => None,
    }
}

/// An error with its causes.
fn explain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
