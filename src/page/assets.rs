//! The style sheet, the scripts and the icon. They are in the binary. Their names have a digest of what is in them, so
//! that browsers keep them without asking again.

use std::io::Write as _;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use super::Paths;

/// How long browsers keep a file: for a year, and without asking.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// How many bytes of the digest are in a name.
const DIGEST_BYTES: usize = 6;

/// A file of the page.
#[derive(Debug)]
pub(super) struct Asset {
    name: String,
    content_type: HeaderValue,
    bytes: &'static [u8],
    gzipped: Vec<u8>,
}

static CSS: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("page", "css", "text/css; charset=utf-8", include_bytes!("assets/page.css")));

static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("page", "js", "text/javascript; charset=utf-8", include_bytes!("assets/page.js"))
});

static SEARCH_SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("search", "js", "text/javascript; charset=utf-8", include_bytes!("assets/search.js"))
});

static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_bytes!("assets/icon.svg")));

/// The paths of the files. They need no login.
pub(super) fn routes() -> Paths {
    Paths::default().get("/assets/{file}", serve)
}

/// The style sheet.
pub(super) fn css() -> &'static Asset {
    &CSS
}

/// The script of every view.
pub(super) fn script() -> &'static Asset {
    &SCRIPT
}

/// The script that goes on with a search.
pub(super) fn search_script() -> &'static Asset {
    &SEARCH_SCRIPT
}

/// The icon.
pub(super) fn icon() -> &'static Asset {
    &ICON
}

impl Asset {
    fn new(stem: &str, extension: &str, content_type: &'static str, bytes: &'static [u8]) -> Self {
        let digest: String =
            Sha256::digest(bytes).iter().take(DIGEST_BYTES).map(|byte| format!("{byte:02x}")).collect();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        // Writing to memory does not fail. Without the compressed bytes, the others are served.
        let gzipped = gzip.write_all(bytes).and_then(|()| gzip.finish()).unwrap_or_default();
        let name = format!("{stem}-{digest}.{extension}");
        Self { name, content_type: HeaderValue::from_static(content_type), bytes, gzipped }
    }

    /// The name of the file, without its folder.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

async fn serve(Path(file): Path<String>, headers: HeaderMap) -> Response {
    let mut assets = [css(), script(), search_script(), icon()].into_iter();
    let Some(asset) = assets.find(|asset| asset.name == file) else {
        return (StatusCode::NOT_FOUND, "there is no such file; load the page again\n").into_response();
    };
    let takes_gzip = headers.get_all(header::ACCEPT_ENCODING).iter().any(takes_gzip);
    let mut response = if takes_gzip && !asset.gzipped.is_empty() {
        let gzip = (header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        ([gzip], asset.gzipped.as_slice()).into_response()
    } else {
        asset.bytes.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, asset.content_type.clone());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(FOR_GOOD));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

/// Whether a value of `Accept-Encoding` names gzip, and not to refuse it.
fn takes_gzip(value: &HeaderValue) -> bool {
    value.to_str().unwrap_or_default().split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().trim_start_matches("q=").parse::<f32>();
        let is_refused = weight.is_ok_and(|weight| weight <= 0.0);
        name.trim().eq_ignore_ascii_case("gzip") && !is_refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_clients_that_accept_it() {
        let takes = |value| takes_gzip(&HeaderValue::from_static(value));
        for value in ["gzip", "deflate, gzip;q=0.5, br", "GZIP"] {
            assert!(takes(value), "{value}");
        }
        for value in ["", "br", "gzip;q=0", "x-gzip"] {
            assert!(!takes(value), "{value}");
        }
    }
}
