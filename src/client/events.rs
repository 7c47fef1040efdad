//! Reads server-sent events from a stream of bytes. Pure.

/// The largest event, in bytes.
const EVENT_BYTES: usize = 4 * 1024 * 1024;

/// An event. Its members are empty if the event does not have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The name.
    pub name: String,
    /// The data; several lines are joined by line feeds.
    pub data: String,
}

/// An event that is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event has more than {EVENT_BYTES} bytes")]
pub struct Malformed;

/// What has arrived of a stream, and was not read yet.
#[derive(Debug, Default)]
pub struct EventReader {
    bytes: Vec<u8>,
    /// Where the next line begins.
    at: usize,
    event: Event,
    has_fields: bool,
}

impl EventReader {
    /// Adds bytes that have arrived.
    pub fn add(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next event that is complete; none if more bytes are needed. Comments are left out. Errors: the event is too
    /// large.
    pub fn next_event(&mut self) -> Result<Option<Event>, Malformed> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
                let is_large = rest.len() + self.event.data.len() > EVENT_BYTES;
                return if is_large { Err(Malformed) } else { Ok(None) };
            };
            let line = String::from_utf8_lossy(rest.get(..length).unwrap_or_default()).into_owned();
            self.at += length + 1;
            let line = line.strip_suffix('\r').unwrap_or(&line);
            if !line.is_empty() {
                self.take(line);
                if self.event.data.len() > EVENT_BYTES {
                    return Err(Malformed);
                }
            } else if std::mem::take(&mut self.has_fields) {
                return Ok(Some(std::mem::take(&mut self.event)));
            }
        }
    }

    fn take(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // An id is in the data too.
            _ => return,
        }
        self.has_fields = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reader: &mut EventReader) -> Vec<(String, String)> {
        let events = std::iter::from_fn(|| reader.next_event().expect("reads"));
        events.map(|event| (event.name, event.data)).collect()
    }

    fn pair(name: &str, data: &str) -> (String, String) {
        (name.to_owned(), data.to_owned())
    }

    #[test]
    fn events_are_read_wherever_the_stream_is_cut() {
        let stream = ":\n\nevent: a\nid: 7\ndata: {\"ż\":1}\n\n: comment\r\nevent:b\r\ndata: x\r\ndata: y\r\n\r\ndata: z\n\n";
        let expected = [pair("a", "{\"ż\":1}"), pair("b", "x\ny"), pair("", "z")];
        for size in 1..stream.len() {
            let mut reader = EventReader::default();
            let mut events = Vec::new();
            for chunk in stream.as_bytes().chunks(size) {
                reader.add(chunk);
                events.extend(read(&mut reader));
            }
            assert_eq!(events, expected, "{size}");
        }
    }

    #[test]
    fn an_event_that_is_not_complete_is_not_read() {
        let mut reader = EventReader::default();
        reader.add(b"event: a\ndata: x\n");
        assert!(read(&mut reader).is_empty());
        reader.add(b"\n");
        assert_eq!(read(&mut reader), [pair("a", "x")]);
    }

    #[test]
    fn an_event_is_limited() {
        let mut reader = EventReader::default();
        reader.add(b"data: ");
        let chunk = vec![b'x'; EVENT_BYTES / 4];
        for _ in 0..4 {
            assert_eq!(reader.next_event(), Ok(None));
            reader.add(&chunk);
        }
        assert_eq!(reader.next_event(), Err(Malformed));
    }
}
