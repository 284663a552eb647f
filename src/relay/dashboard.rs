//! The dashboard: the files of `www/dist`, as they were when this was compiled, at `/`. They are public, also where the
//! relay asks for credentials: what they show, a page has to ask for like everybody else.

use std::fmt::Write as _;

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use sha2::{Digest as _, Sha256};

/// Path and content.
type File = (&'static str, &'static [u8]);

const FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

/// What a relay shows that was compiled without the dashboard.
const WITHOUT: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>aepoch relay</title>\n\
    <h1>This relay runs, without its dashboard</h1>\n\
    <p>It was compiled without it. In the project's folder, <code>make dashboard</code> builds it (with npm), and the next\n\
    <code>cargo build --release</code> takes it in.</p>\n\
    <p>Meanwhile there are <a href=\"/health\">/health</a>, <a href=\"/metrics\">/metrics</a> and\n\
    <a href=\"/v1/documents\">/v1/documents</a>.</p>\n</html>\n";

/// Nothing but the relay's own, and no other page around it: a click in the dashboard can write.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The names of files in this folder hold a digest of their content: they never change.
const HASHED: &str = "/assets/";

pub(super) fn routes() -> Router {
    let index =
        FILES.iter().find(|(path, _)| *path == "/index.html").map_or(WITHOUT.as_bytes(), |(_, content)| content);
    let pages = FILES.iter().copied().chain([("/", index)]).collect::<Vec<File>>();
    pages.into_iter().fold(Router::new(), |router, file| {
        let tag = tag(file.1);
        router.route(file.0, get(async move |headers: HeaderMap| serve(file, &tag, &headers)))
    })
}

fn serve((path, content): File, tag: &HeaderValue, asked: &HeaderMap) -> Response {
    let caching = if path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers: [(HeaderName, HeaderValue); 6] = [
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static(caching)),
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type(path))),
        (header::ETAG, tag.clone()),
    ];
    if is_known(asked, tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, Bytes::from_static(content)).into_response()
}

/// Whether the caller has the content already. Intermediaries may have weakened the tag (RFC 9110, section 13.1.2).
fn is_known(asked: &HeaderMap, tag: &HeaderValue) -> bool {
    let given = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|given| given.to_str().ok());
    let mut given = given.flat_map(|given| given.split(',')).map(|given| given.trim().trim_start_matches("W/"));
    given.any(|given| given == "*" || given.as_bytes() == tag.as_bytes())
}

/// By content, so that it is the same from every build of the same dashboard.
fn tag(content: &[u8]) -> HeaderValue {
    let mut tag = String::from("\"");
    Sha256::digest(content)[..16].iter().for_each(|byte| {
        let _ = write!(tag, "{byte:02x}");
    });
    tag.push('"');
    HeaderValue::from_str(&tag).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("html", |(_, ending)| ending) {
        "html" | "/" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" | "map" => "application/json",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: File = ("/assets/a-1b2c.css", b"body {}");

    fn header(response: &Response, name: HeaderName) -> &str {
        response.headers()[name].to_str().unwrap()
    }

    #[test]
    fn a_hashed_file_is_kept_for_good_and_a_page_is_asked_for_anew() {
        let response = serve(STYLE, &tag(STYLE.1), &HeaderMap::new());
        assert_eq!(response.status(), StatusCode::OK);
        assert!(header(&response, header::CACHE_CONTROL).ends_with("immutable"));
        let response = serve(("/", b"<p>"), &tag(b"<p>"), &HeaderMap::new());
        assert_eq!(header(&response, header::CACHE_CONTROL), "no-cache");
        assert_ne!(header(&response, header::ETAG), tag(STYLE.1).to_str().unwrap());
    }

    #[test]
    fn content_that_is_known_is_not_sent_again() {
        let tag = tag(STYLE.1);
        let text = tag.to_str().unwrap();
        let answer = |given: &str| {
            let asked = HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_str(given).unwrap())]);
            serve(STYLE, &tag, &asked).status()
        };
        for given in [text, "*", &format!("W/{text}"), &format!("\"other\", {text}")] {
            assert_eq!(answer(given), StatusCode::NOT_MODIFIED, "{given}");
        }
        for given in ["", "\"other\"", text.trim_matches('"')] {
            assert_eq!(answer(given), StatusCode::OK, "{given}");
        }
    }

    #[test]
    fn modules_styles_and_wasm_get_the_types_browsers_insist_on() {
        for (path, kind) in [
            ("/", "text/html; charset=utf-8"),
            ("/index.html", "text/html; charset=utf-8"),
            ("/assets/index-a.b.js", "text/javascript; charset=utf-8"),
            ("/assets/aepoch_bg-x.wasm", "application/wasm"),
            ("/favicon.svg", "image/svg+xml"),
        ] {
            assert_eq!(content_type(path), kind, "{path}");
        }
    }

    /// Nothing in a page but what the policy lets it load.
    #[test]
    fn the_page_without_a_dashboard_needs_no_script_and_no_style() {
        for forbidden in ["<script", "<style", "style=", "http://", "https://"] {
            assert!(!WITHOUT.contains(forbidden), "{forbidden}");
        }
    }
}
