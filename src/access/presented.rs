//! Reads the token of a request from the header `Authorization` (RFC 6750, section 2.1).

/// What a request presents.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Presented<'a> {
    /// No header.
    Nothing,
    /// A bearer token; not empty.
    Token(&'a [u8]),
    /// Several headers, another scheme, or no token after it.
    Other,
}

impl<'a> Presented<'a> {
    pub(super) fn read(authorization: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut values = authorization.into_iter();
        match (values.next(), values.next()) {
            (None, _) => Self::Nothing,
            (Some(value), None) => bearer(value).map_or(Self::Other, Self::Token),
            (Some(_), Some(_)) => Self::Other,
        }
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, token) = value.split_at(space);
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_given_once_and_with_its_scheme() {
        for (values, expected) in [
            (&[][..], Presented::Nothing),
            (&["Bearer abc"], Presented::Token(b"abc")),
            (&["bearer   abc "], Presented::Token(b"abc")),
            (&["Bearer"], Presented::Other),
            (&["Bearer "], Presented::Other),
            (&["abc"], Presented::Other),
            (&[""], Presented::Other),
            (&["Basic YTpi"], Presented::Other),
            (&["Bearer abc", "Bearer abc"], Presented::Other),
        ] {
            assert_eq!(Presented::read(values.iter().map(|value| value.as_bytes())), expected, "{values:?}");
        }
    }
}
