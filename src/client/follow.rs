//! Follows the webhooks that come in at a hookbox, over breaks of the connection, each once.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::Client;
use super::error::ClientError;
use super::events::{Event, EventReader};
use super::place::Place;
use super::webhook::Webhook;

/// The pause before the second try to connect again, and the longest one. It doubles with each try.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long a stream has to last before the next one is tried without a pause.
const STEADY_TIME: Duration = Duration::from_secs(10);

/// Which webhooks to follow. A member that is empty lets all pass.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only webhooks from this source.
    pub source: String,
    /// Only webhooks with a job of this route.
    pub route: String,
    /// Only webhooks of this event type.
    pub event_type: String,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Happened {
    /// The stream is there, for the first time.
    Began,
    /// The connection is lost; the text says why. It is tried again until it is there.
    Lost(String),
    /// The connection is there again.
    Again,
    /// A webhook has come in.
    Arrived(Box<Arrived>),
    /// The stream has come to this position without a webhook.
    Position(String),
}

/// A webhook that has come in.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// Its names and its status.
    pub webhook: Webhook,
    /// The same as JSON.
    pub json: Box<RawValue>,
    /// The position of the stream after it.
    pub resume_after: String,
}

/// A stream of new webhooks.
#[derive(Debug)]
pub struct Following {
    client: Client,
    filter: Filter,
    place: Place,
    stream: Option<Stream>,
    /// What happened and was not told yet.
    ready: VecDeque<Happened>,
    has_begun: bool,
    is_lost: bool,
    /// Before the next connection; none before the first one, and after a stream that has lasted.
    pause: Duration,
}

#[derive(Debug)]
struct Stream {
    began: Instant,
    response: Response,
    reader: EventReader,
}

/// The data of an event.
#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow, default)]
    webhook: Option<&'a RawValue>,
    resume_after: String,
}

/// The data of an event that ends a stream.
#[derive(Deserialize)]
struct Problem {
    status: u16,
    #[serde(default)]
    reason: String,
    detail: String,
}

impl Following {
    /// Follows from a place on. Nothing is sent before [`next`](Self::next).
    pub fn new(client: Client, filter: Filter, place: Place) -> Self {
        Self {
            client,
            filter,
            place,
            stream: None,
            ready: VecDeque::new(),
            has_begun: false,
            is_lost: false,
            pause: Duration::ZERO,
        }
    }

    /// Waits for what happens next. Errors: the first connection fails, or hookbox refuses the stream for good.
    pub async fn next(&mut self) -> Result<Happened, ClientError> {
        loop {
            if let Some(happened) = self.ready.pop_front() {
                return Ok(happened);
            }
            match self.step().await {
                Ok(()) => {}
                Err(error) if self.has_begun && error.is_passing() => {
                    let ended = self.stream.take();
                    if ended.is_some_and(|stream| stream.began.elapsed() >= STEADY_TIME) {
                        self.pause = Duration::ZERO;
                    }
                    if !std::mem::replace(&mut self.is_lost, true) {
                        self.ready.push_back(Happened::Lost(error.why()));
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Connects, or reads what arrives.
    async fn step(&mut self) -> Result<(), ClientError> {
        let Some(stream) = &mut self.stream else {
            return self.connect().await;
        };
        let Some(bytes) = self.client.more(&mut stream.response).await? else {
            return Err(self.client.closed());
        };
        stream.reader.add(&bytes);
        loop {
            let Some(stream) = &mut self.stream else { return Ok(()) };
            let event = stream.reader.next_event();
            match event.map_err(|error| self.client.unexpected(error.to_string()))? {
                Some(event) => self.take(&event)?,
                None => return Ok(()),
            }
        }
    }

    async fn connect(&mut self) -> Result<(), ClientError> {
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        let query = [
            ("after", self.place.resume_after()),
            ("source", self.filter.source.as_str()),
            ("route", self.filter.route.as_str()),
            ("event_type", self.filter.event_type.as_str()),
        ];
        let query = query.into_iter().filter(|(_, value)| !value.is_empty()).collect::<Vec<_>>();
        let response = self.client.open(&["v1", "webhooks", "watch"], &query).await?;
        self.stream = Some(Stream { began: Instant::now(), response, reader: EventReader::default() });
        Ok(())
    }

    fn take(&mut self, event: &Event) -> Result<(), ClientError> {
        if event.name == "error" {
            let problem = serde_json::from_str::<Problem>(&event.data);
            let Problem { status, reason, detail } =
                problem.map_err(|error| self.client.unexpected(error.to_string()))?;
            return Err(ClientError::Refused { status, reason, detail });
        }
        let data = serde_json::from_str::<Data<'_>>(&event.data);
        let Data { webhook, resume_after } =
            data.map_err(|error| self.client.unexpected(error.to_string()))?;
        // The first event of a connection: hookbox serves the stream.
        if !self.has_begun {
            self.has_begun = true;
            self.ready.push_back(Happened::Began);
        } else if std::mem::take(&mut self.is_lost) {
            self.ready.push_back(Happened::Again);
        }
        let Some(json) = webhook else {
            self.place.advance(&resume_after);
            self.ready.push_back(Happened::Position(resume_after));
            return Ok(());
        };
        let webhook = serde_json::from_str::<Webhook>(json.get())
            .map_err(|error| self.client.unexpected(error.to_string()))?;
        if !self.place.has(&webhook.id) {
            self.place.handle(&webhook.id, &resume_after);
            let arrived = Arrived { webhook, json: json.to_owned(), resume_after };
            self.ready.push_back(Happened::Arrived(Box::new(arrived)));
        }
        Ok(())
    }
}
