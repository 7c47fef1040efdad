//! Bounds by bytes: how many payloads one statement, claim or purge takes, and which webhooks are large.

/// A webhook whose payload has more bytes than this is large. Large webhooks wait in a queue of their own in either
/// store, so that other writes do not wait until all of them are stored.
pub(super) const LARGE_BYTES: usize = 64 * 1024;

/// How many of these fit into `most` bytes; at least one.
pub(super) fn fitting(bytes: impl Iterator<Item = usize>, most: usize) -> usize {
    let sums = bytes.scan(0_usize, |sum, bytes| {
        *sum = sum.saturating_add(bytes);
        Some(*sum)
    });
    sums.take_while(|sum| *sum <= most).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_fit_as_have_the_bytes_or_one() {
        let fitting = |bytes: &[usize]| fitting(bytes.iter().copied(), 100);
        assert_eq!(fitting(&[1; 100]), 100);
        assert_eq!(fitting(&[50; 3]), 2);
        assert_eq!(fitting(&[101, 1]), 1);
        assert_eq!(fitting(&[100, 1]), 1);
        assert_eq!(fitting(&[usize::MAX, 1]), 1);
    }
}
