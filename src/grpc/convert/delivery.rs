//! Converts what a handler sent and was answered to messages.

use crate::domain::delivery::{Answer, Delivery, milliseconds};
use crate::grpc::proto;

pub(super) fn delivery(delivery: Delivery) -> proto::Delivery {
    proto::Delivery {
        method: delivery.method,
        url: delivery.url,
        request_headers: headers(delivery.request_headers),
        answer: delivery.answer.map(answer),
        connect_ms: delivery.connect_time.map(milliseconds),
        first_byte_ms: delivery.first_byte_time.map(milliseconds),
        total_ms: milliseconds(delivery.total_time),
    }
}

fn answer(answer: Answer) -> proto::Answer {
    proto::Answer {
        status: answer.status.into(),
        headers: headers(answer.headers),
        body: answer.body,
        body_cut: answer.is_cut,
    }
}

pub(super) fn headers(headers: Vec<(String, String)>) -> Vec<proto::Header> {
    headers.into_iter().map(|(name, value)| proto::Header { name, value }).collect()
}
