//! How many of the webhooks that match a step of a replay takes. Pure functions.

use crate::store::ListQuery;
use crate::store::fitting::fitting;

/// Bytes of payloads that one step looks into, unless one payload has more.
const STEP_BYTES: usize = 8 * 1024 * 1024;

/// How many webhooks are selected if `most` are enough. Those whose body has to be looked into have a limit of bytes.
pub(in crate::store) fn limit(query: &ListQuery, most: usize) -> i64 {
    if query.body.is_some() { i64::MAX } else { i64::try_from(most).unwrap_or(i64::MAX) }
}

/// The places that a step takes of those that were selected, each with the bytes of its payload. Also the last of them,
/// if there may be others after it.
pub(in crate::store) fn taken<P: Copy>(
    selected: Vec<(P, usize)>,
    query: &ListQuery,
    most: usize,
) -> (Vec<P>, Option<P>) {
    let bytes = selected.iter().map(|(_, bytes)| *bytes);
    let fits = if query.body.is_some() { fitting(bytes, STEP_BYTES) } else { most };
    let is_cut = selected.len() > fits || query.body.is_none() && selected.len() == most;
    let places = selected.into_iter().take(fits).map(|(place, _)| place).collect::<Vec<_>>();
    let last = places.last().copied().filter(|_| is_cut);
    (places, last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::body_filter::BodyFilter;

    #[test]
    fn without_a_filter_of_the_body_as_many_are_taken_as_are_enough() {
        let query = ListQuery::default();
        assert_eq!((limit(&query, 3), limit(&query, usize::MAX)), (3, i64::MAX));
        let large = |places: &[u8]| places.iter().map(|place| (*place, usize::MAX)).collect();
        assert_eq!(taken(large(&[1, 2, 3]), &query, 3), (vec![1, 2, 3], Some(3)));
        assert_eq!(taken(large(&[1, 2]), &query, 3), (vec![1, 2], None));
        assert_eq!(taken(large(&[]), &query, 3), (vec![], None));
    }

    #[test]
    fn bodies_are_looked_into_up_to_a_limit_of_bytes() {
        let body = BodyFilter::from_fields("", "", "text").expect("valid");
        let query = ListQuery { body, ..ListQuery::default() };
        assert_eq!(limit(&query, 3), i64::MAX);
        let half = STEP_BYTES / 2;
        assert_eq!(taken(vec![(1, half), (2, half), (3, 1)], &query, 1), (vec![1, 2], Some(2)));
        assert_eq!(taken(vec![(1, half), (2, half)], &query, 1), (vec![1, 2], None));
        assert_eq!(taken(vec![(1, STEP_BYTES + 1), (2, 1)], &query, 1), (vec![1], Some(1)));
        assert_eq!(taken(Vec::<(u8, usize)>::new(), &query, 1), (vec![], None));
    }
}
