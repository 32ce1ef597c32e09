//! `POST /v1/photos`: one photo as a raw body, or any number in `multipart/form-data` or a tar archive.
//!
//! - [`intake`]: what every way in ends in. [`raw`], [`many`], [`tar`]: the shapes of a body.
//! - [`parts`], [`archive`]: a body of many photos, read within bounds. `disposition`: what a form's part says of itself.
//!   `room`: room for the next photo of many.
//! - [`item`]: what became of one of them; [`lines`]: that as lines of an answer that is sent while the body still arrives.

pub mod archive;
mod disposition;
pub mod intake;
pub mod item;
pub mod lines;
pub mod many;
pub mod parts;
pub mod raw;
mod room;
pub mod tar;

use futures_util::StreamExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::{HeaderMap, Request};

use crate::Api;
use crate::caller::Caller;
use crate::digests::{Digests, check_encoding};
use crate::idempotency::{self, Asked, Claimed};
use crate::limits::opening::{self, Announced};
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
    let name = query.get("filename").map(ToOwned::to_owned);
    check_encoding(request.headers())?;
    let shape = Shape::of(request.headers())?;
    let is_one = shape == Shape::Photo;
    let limit =
        if is_one { api.pipeline().options().upload_bytes_max } else { api.options().request_bytes_max };
    if let Err(problem) = check_length(request.headers(), limit) {
        // A body of many files is refused as one: none of them is known.
        return Err(if is_one { intake.refused(api, name, problem).await } else { problem });
    }
    if shape == Shape::Photo || shape == Shape::Archive {
        intake.draft()?; // A form may say the rest in fields.
    }
    let digests = if is_one {
        Digests::of_file(request.headers())?
    } else {
        Digests::none_of_many(request.headers())?;
        Digests::default()
    };
    let is_archive = shape == Shape::Archive;
    let asked = Asked::new(&request, &[shape.name()])?;
    // By hyper's length, which is none for a chunked body whatever its headers say.
    let announced = Announced {
        bytes: request.body().size_hint().exact(),
        before: 0,
        shape: if is_one { opening::Shape::Photo } else { opening::Shape::Files },
        is_repeated: false,
    };
    let owner = intake.caller.owner.clone();
    let declared_type = header(request.headers(), CONTENT_TYPE.as_str()).map(ToOwned::to_owned);
    let whole = if is_archive { api.options().tar_timeout } else { api.options().body_timeout };
    let deadlines = BodyDeadlines { whole, ..BodyDeadlines::of(api.options()) };
    let body = body_bytes(request.into_body(), end, deadlines, limit).boxed();
    api.expect_room(&intake.caller, announced)?;
    if is_archive {
        api.expect_tar_place(&intake.caller)?;
    }
    let claim = match idempotency::claim(api, &owner, asked.received_within(whole), is_one).await? {
        Claimed::Go(claim) => claim,
        Claimed::Answered(answer) => return Ok(answer),
    };
    let announced = Announced { is_repeated: !claim.is_first(), ..announced };
    let (lease, body) = match api.open(&intake.caller, announced, body).await {
        Ok(opened) => opened,
        Err(problem) => return claim.end(Err(problem)).await,
    };
    // Not of a request that may be a repetition: what was made then is still its answer.
    if !is_one
        && claim.photo(0).is_none()
        && let Err(problem) = intake.check_named(api).await
    {
        return claim.end(Err(problem)).await;
    }
    match shape {
        // It ends its claim by itself, before the answer's last line.
        Shape::Archive => tar::take(api, lease, intake, body, claim).await,
        Shape::Form { boundary } => {
            let outcome = many::take(api, lease, intake, Parts::new(body, boundary), &claim).await;
            claim.end(outcome).await
        }
        Shape::Photo => {
            let file = File { name, declared_type, body: digests.checked(body) };
            let outcome = raw::take(api, lease, &intake, file, &claim).await;
            claim.end(outcome).await
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
    /// A part of what makes two requests the same.
    fn name(&self) -> &'static [u8] {
        match self {
            Self::Photo => b"raw",
            Self::Form { .. } => b"multipart",
            Self::Archive => b"tar",
        }
    }

    /// # Errors
    /// When it is none of these.
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let content_type = header(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match &*essence {
            "multipart/form-data" => Ok(Self::Form { boundary: parts::boundary(content_type)? }),
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
        let shape = |content_type: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
            Shape::of(&headers).map_err(|problem| problem.kind)
        };
        let form = || Ok(Shape::Form { boundary: "x".to_owned() });
        assert_eq!(shape("multipart/form-data; boundary=x"), form());
        assert_eq!(shape("Multipart/Form-Data;boundary=x"), form());
        assert_eq!(shape("application/X-Tar"), Ok(Shape::Archive));
        assert_eq!(shape("image/jpeg"), Ok(Shape::Photo));
        assert_eq!(Shape::of(&HeaderMap::new()), Ok(Shape::Photo));
        assert_eq!(shape("application/gzip"), Err("/problems/compressed-body".to_owned()));
        assert_eq!(shape("multipart/form-data"), Err("/problems/multipart-malformed".to_owned()));
    }
}
