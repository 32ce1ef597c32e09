//! `POST /v1/photos`: one photo as a raw body, or any number in `multipart/form-data`.
//!
//! - [`intake`]: what every way in ends in. [`raw`], [`many`]: the shapes of a body. [`parts`]: a body of many photos, read
//!   within bounds.

pub mod intake;
pub mod many;
pub mod parts;
pub mod raw;

use futures_util::StreamExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::{HeaderMap, Request};

use crate::Api;
use crate::caller::Caller;
use crate::digests::{Digests, check_encoding};
use crate::idempotency::{self, Asked, Claimed};
use crate::limits::opening::Announced;
use crate::problem::Problem;
use crate::request::{BodyDeadlines, BodyEnd, Query, body_bytes, header};
use crate::response::Answer;
use intake::{File, Intake, PARAMETERS};
use parts::Parts;

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
    let content_type = header(request.headers(), CONTENT_TYPE.as_str()).map(ToOwned::to_owned);
    let boundary = content_type.as_deref().filter(|value| is_multipart(value)).map(multer::parse_boundary);
    let limit = if boundary.is_some() {
        api.options().request_bytes_max
    } else {
        api.pipeline().options().upload_bytes_max
    };
    let name = query.get("filename").map(ToOwned::to_owned);
    if let Err(problem) = check_length(request.headers(), limit) {
        // A body of many files is refused as one: none of them is known.
        return Err(match boundary {
            None => intake.refused(api, name, problem).await,
            Some(_) => problem,
        });
    }
    check_encoding(request.headers())?;
    let digests = if boundary.is_none() {
        Digests::of_file(request.headers())?
    } else {
        Digests::none_of_many(request.headers())?;
        Digests::default()
    };
    let shape: &[u8] = if boundary.is_none() { b"raw" } else { b"multipart" };
    let asked = Asked::new(&request, &[shape])?;
    // By hyper's length, which is none for a chunked body whatever its headers say.
    let announced = Announced { bytes: request.body().size_hint().exact(), is_one_photo: boundary.is_none() };
    let owner = intake.caller.owner.clone();
    let body = body_bytes(request.into_body(), end, BodyDeadlines::of(api.options()), limit).boxed();
    let (lease, body) = api.open(&intake.caller, announced, body).await?;
    let claim = match idempotency::claim(api, &owner, asked, boundary.is_none()).await? {
        Claimed::Go(claim) => claim,
        Claimed::Answered(answer) => return Ok(answer),
    };
    let outcome = match boundary {
        None => {
            let file = File { name, declared_type: content_type, body: digests.checked(body) };
            raw::take(api, lease, &intake, file, &claim).await
        }
        Some(Ok(boundary)) => {
            // Not of a request that may be a repetition: what was made then is still its answer.
            let checked = if claim.photo(0).is_none() { intake.check_batch(api).await } else { Ok(()) };
            match checked {
                Ok(()) => many::take(api, lease, &intake, Parts::new(body, boundary), &claim).await,
                Err(problem) => Err(problem),
            }
        }
        Some(Err(error)) => Err(Problem::new("multipart-malformed", error.to_string())),
    };
    claim.end(outcome).await
}

fn is_multipart(content_type: &str) -> bool {
    content_type
        .split(';')
        .next()
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("multipart/form-data"))
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
    fn multipart_is_known_by_its_essence() {
        assert!(is_multipart("multipart/form-data; boundary=x"));
        assert!(is_multipart("Multipart/Form-Data;boundary=x"));
        assert!(!is_multipart("image/jpeg"));
    }
}
