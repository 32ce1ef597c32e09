//! `/v1/direct-uploads`: clients send bytes to the bucket by themselves. See docs/direct-uploads.md.
//!
//! - [`request`]: what clients say. [`view`]: what they are told.

mod request;
mod view;

use std::time::Duration;

use darkroom_actors::Ingested;
use darkroom_actors::direct::{DirectError, NewDirect};
use darkroom_store::model::direct::{DirectUpload, State};
use darkroom_store::model::{OwnerId, Timestamp, UploadId};
use futures_util::StreamExt;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Method, Request, StatusCode};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::Api;
use crate::idempotency::{self, Asked, Claim, Claimed};
use crate::problem::Problem;
use crate::request::{BodyDeadlines, BodyEnd, Query, body_bytes, json, preferred_wait};
use crate::response::{self, Answer};
use crate::routes::{Asking, Routed, Routes, not_allowed};
use crate::upload::intake::settled;
use crate::view::PhotoView;
use request::{Completed, PartsWanted, Wanted};
use view::View;

/// What is answered here.
pub const ROUTES: Routes = &[
    ("POST", "/v1/direct-uploads"),
    ("GET", "/v1/direct-uploads/{id}"),
    ("DELETE", "/v1/direct-uploads/{id}"),
    ("POST", "/v1/direct-uploads/{id}/parts"),
    ("POST", "/v1/direct-uploads/{id}/complete"),
];

/// Longest body that says something of one upload.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Longest that names its parts: ten thousand `ETag`s.
const COMPLETED_BYTES_MAX: usize = 2 << 20;
/// How long a completion waits for somebody who is completing the same upload, such as an event of the bucket.
const BUSY_WAIT: Duration = Duration::from_secs(10);
/// Between two looks at that: another node tells nobody.
const BUSY_POLL: Duration = Duration::from_millis(100);

/// Answers what is below `/v1/direct-uploads`.
pub(crate) async fn route(api: &Api, asking: Asking, rest: &[&str]) -> Routed {
    let method = asking.request.method().clone();
    let get = method == Method::GET || method == Method::HEAD;
    match rest {
        [] => (
            "/v1/direct-uploads",
            if method == Method::POST { create(api, asking).await } else { not_allowed("POST") },
        ),
        [id] => (
            "/v1/direct-uploads/{id}",
            match method {
                Method::DELETE => delete(api, &asking, id).await,
                _ if get => show(api, &asking, id).await,
                _ => not_allowed("GET, HEAD, DELETE"),
            },
        ),
        [id, "parts"] => (
            "/v1/direct-uploads/{id}/parts",
            if method == Method::POST { parts(api, asking, id).await } else { not_allowed("POST") },
        ),
        [id, "complete"] => (
            "/v1/direct-uploads/{id}/complete",
            if method == Method::POST { complete(api, asking, id).await } else { not_allowed("POST") },
        ),
        _ => (
            "unknown",
            Err(Problem::new("not-found", "there is nothing here: see /openapi.json for what there is")),
        ),
    }
}

/// The body as JSON.
async fn read<T: DeserializeOwned>(
    api: &Api,
    body: Incoming,
    end: BodyEnd,
    max: usize,
) -> Result<T, Problem> {
    let deadlines = BodyDeadlines::of(api.options());
    json(body_bytes(body, end, deadlines, max as u64).boxed(), max).await
}

/// The id in a path.
fn parse_id(text: &str) -> Result<UploadId, Problem> {
    let unknown = || format!("there is no direct upload {text:?}: it was forgotten, or the id is wrong");
    text.parse().map_err(|_| Problem::new("direct-upload-not-found", unknown()))
}

fn no_parameters(asking: &Asking) -> Result<(), Problem> {
    Query::parse(asking.request.uri().query(), &[]).map(drop)
}

async fn create(api: &Api, asking: Asking) -> Result<Answer, Problem> {
    no_parameters(&asking)?;
    let Asking { request, caller, end, .. } = asking;
    let (head, body) = request.into_parts();
    let wanted: Wanted = read(api, body, end, BODY_BYTES_MAX).await?;
    let content = serde_json::to_vec(&wanted).unwrap_or_default();
    let asked = Asked::new(&Request::from_parts(head, ()), &[&content])?;
    let new = wanted.into_new(api, &caller)?;
    match idempotency::claim(api, &caller.owner, asked, false).await? {
        Claimed::Answered(answer) => Ok(answer),
        Claimed::Go(claim) => {
            let outcome = open(api, new, &claim).await;
            // Nothing is kept of the answer, whose URLs are secrets: they are signed anew.
            claim.end(outcome).await
        }
    }
}

async fn open(api: &Api, new: NewDirect, claim: &Claim) -> Result<Answer, Problem> {
    let upload = api.pipeline().open_direct(new, claim.upload_key()).await?;
    let view = if upload.state == State::Open && upload.expires > Timestamp::now() {
        View::of(api, &upload).await?
    } else {
        // Of an earlier attempt, and over by now.
        shown(api, &upload).await?
    };
    let mut answer = response::json(StatusCode::CREATED, &view);
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/direct-uploads/{}", upload.id)) {
        answer.headers_mut().insert(LOCATION, location);
    }
    Ok(answer)
}

async fn show(api: &Api, asking: &Asking, id: &str) -> Result<Answer, Problem> {
    no_parameters(asking)?;
    let upload = api.pipeline().direct_upload(&asking.caller.owner, parse_id(id)?).await?;
    Ok(response::json(StatusCode::OK, &shown(api, &upload).await?))
}

/// An upload without its URLs, with what has become of it.
async fn shown(api: &Api, upload: &DirectUpload) -> Result<View, Problem> {
    let mut view = View::bare(upload);
    if upload.state != State::Open {
        match api.pipeline().outcome_of(upload).await {
            Ok(ingested) => view.photo = Some(photo_view(api, &ingested)),
            Err(error @ DirectError::Ingest(_)) => return Err(error.into()),
            Err(error) => view.problem = Some(error.into()),
        }
    }
    Ok(view)
}

async fn delete(api: &Api, asking: &Asking, id: &str) -> Result<Answer, Problem> {
    no_parameters(asking)?;
    api.pipeline().abort_direct(&asking.caller.owner, parse_id(id)?).await?;
    Ok(response::empty(StatusCode::NO_CONTENT))
}

async fn parts(api: &Api, asking: Asking, id: &str) -> Result<Answer, Problem> {
    no_parameters(&asking)?;
    let (id, owner) = (parse_id(id)?, asking.caller.owner.clone());
    let wanted: PartsWanted = read(api, asking.request.into_body(), asking.end, BODY_BYTES_MAX).await?;
    let upload = api.pipeline().direct_upload(&owner, id).await?;
    let mut view = View::bare(&upload);
    view.add_parts(api, &upload, wanted.from).await?;
    Ok(response::json(StatusCode::OK, &view))
}

async fn complete(api: &Api, asking: Asking, id: &str) -> Result<Answer, Problem> {
    no_parameters(&asking)?;
    let (id, caller) = (parse_id(id)?, asking.caller.clone());
    let wait = preferred_wait(asking.request.headers()).map(|wait| wait.min(api.options().wait_max));
    let body = asking.request.into_body();
    let completed: Completed = read(api, body, asking.end, COMPLETED_BYTES_MAX).await?;
    let sent: Vec<_> = completed.parts.into_iter().map(|part| (part.number, part.etag)).collect();
    let began = Instant::now();
    let ingested = loop {
        let upload = api.pipeline().direct_upload(&caller.owner, id).await?;
        if upload.state != State::Open {
            break api.pipeline().outcome_of(&upload).await?;
        }
        // All of this request's body is there, and the photo's bytes come from the bucket: no slow client holds this.
        let lease = api.admit(&caller, Some(upload.bytes)).await?;
        match api.pipeline().finish_direct(lease, id, sent.clone()).await {
            Err(DirectError::Busy(_)) if began.elapsed() < BUSY_WAIT => {
                not_claimed(api, &caller.owner, id, began).await?;
            }
            finished => break finished?,
        }
    };
    let view = photo_view(api, &ingested);
    let view = settled(api, view, wait.map(|wait| Instant::now() + wait)).await;
    let status = if view.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    let mut answer = response::json(status, &view);
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/photos/{}", view.id)) {
        answer.headers_mut().insert(LOCATION, location);
    }
    Ok(answer)
}

/// Waits for whoever is completing it, for a while.
async fn not_claimed(api: &Api, owner: &OwnerId, id: UploadId, began: Instant) -> Result<(), Problem> {
    let is_claimed = |upload: &DirectUpload| upload.state == State::Open && upload.claim.is_some();
    while is_claimed(&api.pipeline().direct_upload(owner, id).await?) && began.elapsed() < BUSY_WAIT {
        tokio::time::sleep(BUSY_POLL).await;
    }
    Ok(())
}

fn photo_view(api: &Api, ingested: &Ingested) -> PhotoView {
    let view = PhotoView::new(&ingested.photo, api.pipeline().presets());
    PhotoView { duplicate: ingested.duplicate, ..view }
}
