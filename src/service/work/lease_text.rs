//! Leases as workers name them: texts that mean nothing to workers.

use crate::domain::attempt::Lease;
use crate::domain::job::{JobId, QueueId};

/// The text of a lease.
pub(super) fn of(lease: &Lease) -> String {
    format!("{}.{}.{}", lease.job.webhook, lease.job.queue.0, lease.token)
}

/// The lease with this text; none if it is the text of no lease. Every lease has one text only.
pub(super) fn parse(text: &str) -> Option<Lease> {
    let mut parts = text.split('.');
    let (webhook, queue, token) = (parts.next()?, parts.next()?, parts.next()?);
    let job = JobId { webhook: webhook.parse().ok()?, queue: QueueId(queue.parse().ok()?) };
    let lease = Lease { job, token: token.parse().ok()? };
    // The stores keep both numbers as signed ones.
    let is_possible = i32::try_from(lease.job.queue.0).is_ok() && i64::try_from(lease.token).is_ok();
    (is_possible && of(&lease) == text).then_some(lease)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::WebhookId;

    #[test]
    fn a_lease_is_read_from_its_text_and_from_no_other() {
        let job = JobId { webhook: WebhookId::from_bytes([0xab; 16]), queue: QueueId(3) };
        let lease = Lease { job, token: 17 };
        let text = of(&lease);
        assert_eq!(text, "abababab-abab-abab-abab-abababababab.3.17");
        assert_eq!(parse(&text), Some(lease));
        for wrong in [
            "",
            "17",
            "abababab-abab-abab-abab-abababababab.3",
            "abababab-abab-abab-abab-abababababab.3.17.1",
            "abababab-abab-abab-abab-abababababab.3.017",
            "abababab-abab-abab-abab-abababababab.+3.17",
            "ABABABAB-abab-abab-abab-abababababab.3.17",
            "abababababababababababababababab.3.17",
            "abababab-abab-abab-abab-abababababab.4294967295.17",
            "abababab-abab-abab-abab-abababababab.3.18446744073709551615",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
