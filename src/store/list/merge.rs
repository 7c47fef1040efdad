//! Joins what several indexes list.

/// Joins lists of places, each newest first and cut off after `most` of them. Returns the places down to the one from
/// which on all lists are whole, newest first, each once. The second value is that place; `None` if no list was cut off.
pub(in crate::store) fn merge<P: Ord + Copy>(lists: &[Vec<P>], most: usize) -> (Vec<P>, Option<P>) {
    let cut_off = lists.iter().filter(|list| list.len() >= most);
    let end = cut_off.filter_map(|list| list.last()).max().copied();
    let mut places = lists.iter().flatten().copied().collect::<Vec<_>>();
    places.retain(|place| end.is_none_or(|end| *place >= end));
    places.sort_unstable_by(|one, other| other.cmp(one));
    places.dedup();
    (places, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lists_are_joined_newest_first() {
        assert_eq!(merge(&[vec![9, 5, 1], vec![7, 5], Vec::new()], 4), (vec![9, 7, 5, 1], None));
        assert_eq!(merge::<i64>(&[], 4), (Vec::new(), None));
    }

    #[test]
    fn places_that_a_list_may_lack_are_left_to_the_next_window() {
        let lists = [vec![9, 8, 6], vec![7, 5, 4], vec![8, 1]];
        assert_eq!(merge(&lists, 3), (vec![9, 8, 7, 6], Some(6)));
    }
}
