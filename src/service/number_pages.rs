//! Page tokens of lists whose items have numbers: the number of the last item of a page, after which the next page begins.

use crate::domain::error::{Error, Result};

/// The number before which the page begins; none for the first page. Errors: `InvalidField` for `page_token`.
pub fn number_of_token(token: &str) -> Result<Option<u64>> {
    if token.is_empty() {
        return Ok(None);
    }
    let number = token
        .parse()
        .map_err(|_| Error::invalid("page_token", "must be the `next_page_token` of the previous page"))?;
    Ok(Some(number))
}

/// The token of the page that begins before this number; empty if there is no such page.
pub fn token_of_number(next: Option<u64>) -> String {
    next.map(|next| next.to_string()).unwrap_or_default()
}
