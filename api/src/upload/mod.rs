//! `POST /v1/photos`: one photo as a raw body, or any number in `multipart/form-data` or a tar archive.
//!
//! - [`intake`]: what every way in ends in. [`raw`], [`many`], [`tar`]: the shapes of a body.
//! - [`parts`], [`archive`]: a body of many photos, read within bounds. [`item`]: what became of one of them; [`lines`]: that
//!   as lines of an answer that is sent while the body still arrives.

pub mod archive;
pub mod intake;
pub mod item;
pub mod lines;
pub mod many;
pub mod parts;
pub mod raw;
pub mod tar;

use futures_util::StreamExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use hyper::{HeaderMap, Request};

use crate::Api;
use crate::caller::Caller;
use crate::problem::Problem;
use crate::request::{BodyDeadlines, BodyEnd, Query, body_bytes, header};
use crate::response::Answer;
use intake::{File, Intake, PARAMETERS};
use parts::Parts;

/// Types of compressed archives, of which nothing is read.
const COMPRESSED: &[(&str, &str)] = &[
    ("application/gzip", "gzip"),
    ("application/x-gzip", "gzip"),
    ("application/x-compressed-tar", "gzip"),
    ("application/x-gtar-compressed", "gzip"),
    ("application/zstd", "zstd"),
    ("application/x-xz", "xz"),
    ("application/x-bzip2", "bzip2"),
    ("application/zip", "zip"),
];

/// Takes one photo or many.
///
/// # Errors
/// The problem of a raw body, or one that concerns a multipart body as a whole.
pub async fn create(
    api: &Api,
    request: Request<Incoming>,
    caller: Caller,
    end: BodyEnd,
) -> Result<Answer, Problem> {
    let query = Query::parse(request.uri().query(), PARAMETERS)?;
    let intake = Intake::of_query(api, caller, &query, request.headers())?;
    let shape = Shape::of(request.headers())?;
    let limit = match shape {
        Shape::Photo => api.pipeline().options().upload_bytes_max,
        Shape::Form { .. } | Shape::Archive => api.options().request_bytes_max,
    };
    check_length(request.headers(), limit)?;
    let place = if shape == Shape::Archive { Some(api.tar_place()?) } else { None };
    // Before the body is read: who sent `Expect: 100-continue` has not even sent it. By hyper's length, which is none
    // for a chunked body whatever its headers say.
    let lease = api.admit(&intake.caller, request.body().size_hint().exact())?;
    let whole = if place.is_some() { api.options().tar_timeout } else { api.options().body_timeout };
    let deadlines = BodyDeadlines { idle: api.options().body_idle_timeout, whole };
    let declared_type = header(request.headers(), CONTENT_TYPE.as_str()).map(ToOwned::to_owned);
    let body = body_bytes(request.into_body(), end, deadlines, limit).boxed();
    match (shape, place) {
        (Shape::Form { boundary }, _) => many::take(api, lease, intake, Parts::new(body, boundary)).await,
        (Shape::Archive, Some(place)) => tar::take(api, lease, intake, body, place).await,
        (Shape::Photo | Shape::Archive, _) => {
            let name = query.get("filename").map(ToOwned::to_owned);
            raw::take(api, lease, &intake, File { name, declared_type, body }).await
        }
    }
}

/// What a body is, by its type.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    /// One photo.
    Photo,
    /// A form, with this between its parts.
    Form { boundary: String },
    /// A tar archive.
    Archive,
}

impl Shape {
    /// # Errors
    /// When it is none of these.
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let content_type = header(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let encoding = header(headers, CONTENT_ENCODING.as_str()).unwrap_or("identity").trim();
        if !encoding.eq_ignore_ascii_case("identity") {
            return Err(Problem::compressed(encoding));
        }
        match &*essence {
            "multipart/form-data" => multer::parse_boundary(content_type)
                .map(|boundary| Self::Form { boundary })
                .map_err(|error| Problem::new("multipart-malformed", error.to_string())),
            "application/x-tar" | "application/tar" => Ok(Self::Archive),
            _ => match COMPRESSED.iter().find(|(known, _)| *known == essence) {
                Some((_, name)) => Err(Problem::compressed(name)),
                None => Ok(Self::Photo),
            },
        }
    }
}

fn check_length(headers: &HeaderMap, limit: u64) -> Result<(), Problem> {
    let length = header(headers, CONTENT_LENGTH.as_str()).and_then(|value| value.parse::<u64>().ok());
    match length {
        Some(length) if length > limit => Err(Problem::new(
            "body-too-large",
            format!("the body has {length} bytes, and at most {limit} are taken; none of it was read"),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bodys_shape_is_known_by_the_essence_of_its_type() {
        let shape = |content_type: &str, encoding: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
            headers.insert(CONTENT_ENCODING, encoding.parse().unwrap());
            Shape::of(&headers).map_err(|problem| problem.kind)
        };
        let form = || Ok(Shape::Form { boundary: "x".to_owned() });
        assert_eq!(shape("multipart/form-data; boundary=x", "identity"), form());
        assert_eq!(shape("Multipart/Form-Data;boundary=x", "Identity"), form());
        assert_eq!(shape("application/X-Tar", "identity"), Ok(Shape::Archive));
        assert_eq!(shape("image/jpeg", "identity"), Ok(Shape::Photo));
        assert_eq!(Shape::of(&HeaderMap::new()), Ok(Shape::Photo));
        let compressed = || Err("/problems/compressed-body".to_owned());
        assert_eq!(shape("application/x-tar", "gzip"), compressed());
        assert_eq!(shape("application/gzip", "identity"), compressed());
        assert_eq!(shape("multipart/form-data", "identity"), Err("/problems/multipart-malformed".to_owned()));
    }
}
