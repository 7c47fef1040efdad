//! Limits the spans that wait for their export, and counts those that find no room. The SDK drops them without a word.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanProcessor};

/// How many spans wait, and how many found no room.
#[derive(Debug)]
pub(super) struct SpanQueue {
    size: usize,
    waiting: AtomicUsize,
    lost: AtomicU64,
}

impl SpanQueue {
    /// An empty queue with room for this many spans.
    pub(super) fn new(size: usize) -> Self {
        Self { size, waiting: AtomicUsize::new(0), lost: AtomicU64::new(0) }
    }

    /// Notes that spans are exported now.
    pub(super) fn leave(&self, spans: usize) {
        self.waiting.fetch_sub(spans, Ordering::AcqRel);
    }

    /// How many spans found no room since they were last taken.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The same; they are not counted again.
    pub(super) fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }

    /// Whether there is room for another span, which then waits. Else it is lost.
    fn enter(&self) -> bool {
        let has_room = self.waiting.fetch_add(1, Ordering::AcqRel) < self.size;
        if !has_room {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }
}

/// Hands spans over to the processor that exports them in batches. Its own queue is as large, so it never has to drop
/// one.
#[derive(Debug)]
pub(super) struct Queued {
    processor: BatchSpanProcessor,
    queue: Arc<SpanQueue>,
}

impl Queued {
    /// The exporter of `processor` notes in `queue` what it exports.
    pub(super) fn new(processor: BatchSpanProcessor, queue: Arc<SpanQueue>) -> Self {
        Self { processor, queue }
    }
}

impl SpanProcessor for Queued {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.queue.enter() {
            self.processor.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_find_no_room_are_counted_until_others_are_exported() {
        let queue = SpanQueue::new(2);
        assert_eq!([(); 4].map(|()| queue.enter()), [true, true, false, false]);
        queue.leave(1);
        assert_eq!([(); 2].map(|()| queue.enter()), [true, false]);
        assert_eq!((queue.lost(), queue.take_lost(), queue.lost()), (3, 3, 0));
    }
}
