//! What pages are drawn with, as parts of the program.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
const ICON: &str = include_str!("icon.svg");

/// Pages name what they need with a part of its hash, so that a browser can keep it and never shows an old one.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    [STYLE, SCRIPT, ICON].iter().for_each(|text| hash.update(text));
    engine_abi::hexadecimal::write(&hash.finalize()[..6])
});

/// The address of one of them.
pub(super) fn address(name: &str) -> String {
    format!("/ui/{name}?version={}", *VERSION)
}

fn kept(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=31536000, immutable")], text).into_response()
}

pub(super) async fn style() -> Response {
    kept("text/css; charset=utf-8", STYLE)
}

pub(super) async fn script() -> Response {
    kept("text/javascript; charset=utf-8", SCRIPT)
}

pub(super) async fn icon() -> Response {
    kept("image/svg+xml", ICON)
}
