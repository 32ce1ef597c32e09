//! `POST /v1/photos`: one photo as a raw body, or any number in `multipart/form-data`.

use std::time::Duration;

use darkroom_actors::{Body, Ingested, Lease, Upload};
use darkroom_store::model::OwnerId;
use futures_util::StreamExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::{HeaderMap, Request, StatusCode};
use serde::Serialize;
use tokio::time::Instant;

use crate::multipart::{Part, Parts};
use crate::problem::Problem;
use crate::request::{BodyDeadlines, BodyEnd, Query, body_bytes, header, preferred_wait};
use crate::response::{self, Answer};
use crate::view::PhotoView;
use crate::{Api, photos};

/// Query parameters of an upload.
const PARAMETERS: &[&str] = &["duplicate"];

/// What holds for every photo of one request.
struct Wishes {
    allow_duplicate: bool,
    wait: Option<Duration>,
}

impl Wishes {
    /// Until when the client would wait, from now on.
    fn deadline(&self) -> Option<Instant> {
        self.wait.map(|wait| Instant::now() + wait)
    }
}

/// Takes one photo or many.
///
/// # Errors
/// The problem of a raw body, or one that concerns a multipart body as a whole.
pub async fn create(api: &Api, request: Request<Incoming>, end: BodyEnd) -> Result<Answer, Problem> {
    let query = Query::parse(request.uri().query(), PARAMETERS)?;
    let wishes = Wishes {
        allow_duplicate: match query.get("duplicate") {
            None => false,
            Some("allow") => true,
            Some(other) => {
                let detail = format!("duplicate={other:?} is not known: give \"allow\" or leave it out");
                return Err(Problem::new("invalid-parameter", detail));
            }
        },
        wait: preferred_wait(request.headers()).map(|wait| wait.min(api.options().wait_max)),
    };
    let content_type = header(request.headers(), CONTENT_TYPE.as_str()).map(ToOwned::to_owned);
    let boundary = content_type.as_deref().filter(|value| is_multipart(value)).map(multer::parse_boundary);
    let limit = if boundary.is_some() {
        api.options().request_bytes_max
    } else {
        api.pipeline().options().upload_bytes_max
    };
    check_length(request.headers(), limit)?;
    // Before the body is read: who sent `Expect: 100-continue` has not even sent it. By hyper's length, which is none
    // for a chunked body whatever its headers say.
    let lease = api.pipeline().lease(request.body().size_hint().exact())?;
    let deadlines =
        BodyDeadlines { idle: api.options().body_idle_timeout, whole: api.options().body_timeout };
    let body = body_bytes(request.into_body(), end, deadlines, limit);
    match boundary {
        None => raw(api, lease, body.boxed(), content_type, &wishes).await,
        Some(Ok(boundary)) => many(api, lease, Parts::new(body.boxed(), boundary), &wishes).await,
        Some(Err(error)) => Err(Problem::new("multipart-malformed", error.to_string())),
    }
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

async fn raw(
    api: &Api,
    lease: Lease,
    body: Body,
    declared_type: Option<String>,
    wishes: &Wishes,
) -> Result<Answer, Problem> {
    let view = ingest(api, lease, body, declared_type, wishes).await?;
    let view = settled(api, view, wishes.deadline()).await;
    let location = format!("/v1/photos/{}", view.id);
    let status = if view.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    let mut answer = response::json(status, &view);
    if let Ok(location) = HeaderValue::from_str(&location) {
        answer.headers_mut().insert(LOCATION, location);
    }
    Ok(answer)
}

async fn ingest(
    api: &Api,
    lease: Lease,
    body: Body,
    declared_type: Option<String>,
    wishes: &Wishes,
) -> Result<PhotoView, Problem> {
    let upload = Upload {
        lease,
        body,
        owner: OwnerId::open(),
        declared_type,
        allow_duplicate: wishes.allow_duplicate,
    };
    let Ingested { photo, duplicate } = api.pipeline().ingest(upload).await?;
    Ok(PhotoView { duplicate, ..PhotoView::new(&photo, api.pipeline().presets()) })
}

/// The photo as it is at the deadline, or once it is settled. Whatever happens while waiting, it is durable,
/// and that is the answer.
async fn settled(api: &Api, view: PhotoView, deadline: Option<Instant>) -> PhotoView {
    let (Some(deadline), Ok(id)) = (deadline, view.id.parse()) else { return view };
    let wait = deadline.saturating_duration_since(Instant::now());
    match photos::wait_until_settled(api, id, wait).await {
        Ok(Some(photo)) => {
            PhotoView { duplicate: view.duplicate, ..PhotoView::new(&photo, api.pipeline().presets()) }
        }
        // Deleted while we waited: the answer is still that it was created.
        Ok(None) => view,
        Err(error) => {
            tracing::warn!(photo = view.id, %error, "could not wait for a photo; it was answered as it was");
            view
        }
    }
}

/// What became of one file of a multipart body.
#[derive(Serialize)]
struct Item {
    name: String,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    photo: Option<PhotoView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

impl Item {
    fn new(name: String, result: Result<PhotoView, Problem>) -> Self {
        match result {
            Ok(photo) => {
                let status = if photo.duplicate { StatusCode::OK } else { StatusCode::CREATED };
                Self { name, status: status.as_u16(), photo: Some(photo), problem: None }
            }
            Err(problem) => Self { name, status: problem.status, photo: None, problem: Some(problem) },
        }
    }
}

#[derive(Serialize)]
struct Items {
    items: Vec<Item>,
}

async fn many(api: &Api, first: Lease, mut parts: Parts, wishes: &Wishes) -> Result<Answer, Problem> {
    let mut items = take_parts(api, first, &mut parts, wishes).await?;
    if items.is_empty() {
        return Err(Problem::new(
            "multipart-without-file",
            "the body has no part with a file: send each photo as a part with a filename",
        ));
    }
    // One deadline for all: who waits ten seconds waits ten seconds, however many photos there are.
    let deadline = wishes.deadline();
    for item in &mut items {
        if let Some(photo) = item.photo.take() {
            item.photo = Some(settled(api, photo, deadline).await);
        }
    }
    let all_new = items.iter().all(|item| item.status == StatusCode::CREATED.as_u16());
    let status = if all_new { StatusCode::CREATED } else { StatusCode::MULTI_STATUS };
    Ok(response::json(status, &Items { items }))
}

/// The outcome of each part. A body that breaks off is an error only if nothing came of it before: what is
/// durable must be told.
async fn take_parts(
    api: &Api,
    first: Lease,
    parts: &mut Parts,
    wishes: &Wishes,
) -> Result<Vec<Item>, Problem> {
    let mut lease = Some(first);
    let mut items = Vec::new();
    loop {
        let part = match parts.next().await {
            Ok(Some(part)) => part,
            Ok(None) => return Ok(items),
            Err(error) if items.is_empty() => return Err(error.into()),
            Err(error) => {
                items.push(Item::new(String::new(), Err(error.into())));
                return Ok(items);
            }
        };
        if items.len() >= api.options().parts_max {
            let detail = format!("only the first {} parts were taken; send the rest again", items.len());
            items.push(Item::new(part.name, Err(Problem::new("too-many-parts", detail))));
            return Ok(items);
        }
        let name = part.name.clone();
        let outcome = take_part(api, &mut lease, &part, wishes).await;
        part.pass_over().await;
        items.push(Item::new(name, outcome));
        if parts.is_broken() {
            return Ok(items); // The part's own outcome says how.
        }
    }
}

async fn take_part(
    api: &Api,
    lease: &mut Option<Lease>,
    part: &Part,
    wishes: &Wishes,
) -> Result<PhotoView, Problem> {
    if !part.is_file {
        let detail = format!("the form field {:?} is not known; a photo needs a filename", part.name);
        return Err(Problem::new("unknown-field", detail));
    }
    // How large one part is, is known at its end.
    let lease = lease.take().map_or_else(|| api.pipeline().lease(None), Ok)?;
    ingest(api, lease, part.body(), part.declared_type.clone(), wishes).await
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
