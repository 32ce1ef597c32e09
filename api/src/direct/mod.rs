//! `/v1/direct-uploads`: clients send bytes to the bucket by themselves. See docs/direct-uploads.md.
//!
//! - [`request`]: what clients say. [`view`]: what they are told.

mod request;
mod view;

use std::time::Duration;

use darkroom_actors::direct::{DirectError, NewDirect};
use darkroom_store::model::direct::{DirectUpload, State};
use darkroom_store::model::{OwnerId, Timestamp, UploadId};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Method, Request, StatusCode};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::Api;
use crate::held::Held;
use crate::idempotency::{self, Asked, Claim, Claimed};
use crate::photos::view_of_own;
use crate::problem::Problem;
use crate::request::{BodyEnd, Query, preferred_wait};
use crate::response::{self, Answer};
use crate::routes::{Asking, Routed, Routes, not_allowed};
use crate::upload::intake::settled;
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
/// Longest that completes one without parts.
const COMPLETED_BYTES_MAX: usize = 4 << 10;
/// What each part adds to that: its number and `ETag`, as JSON. Of ten thousand parts it is 2 MB.
const COMPLETED_PART_BYTES_MAX: usize = 200;
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

/// The body as JSON, and the body, to be held as long as what was read of it.
async fn read<T: DeserializeOwned>(
    api: &Api,
    body: Incoming,
    end: BodyEnd,
    max: usize,
) -> Result<(T, Held), Problem> {
    let held = api.direct_room().read(api, body, end, max).await?;
    Ok((held.json()?, held))
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
    let (wanted, _) = read::<Wanted>(api, body, end, BODY_BYTES_MAX).await?;
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
    // Not of a repetition: what was announced then is still its answer.
    if claim.made().is_none() {
        crate::albums::admitted(api, &new.owner, new.fields.album).await?;
    }
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
            Ok(ingested) => view.photo = Some(view_of_own(api, &ingested.photo, ingested.duplicate).await),
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
    // Who may not ask for it is told so before anything of the body is held.
    let upload = api.pipeline().direct_upload(&owner, id).await?;
    let body = asking.request.into_body();
    let (wanted, _) = read::<PartsWanted>(api, body, asking.end, BODY_BYTES_MAX).await?;
    let mut view = View::bare(&upload);
    view.add_parts(api, &upload, wanted.from).await?;
    Ok(response::json(StatusCode::OK, &view))
}

async fn complete(api: &Api, asking: Asking, id: &str) -> Result<Answer, Problem> {
    no_parameters(&asking)?;
    let (id, caller) = (parse_id(id)?, asking.caller.clone());
    let wait = preferred_wait(asking.request.headers()).map(|wait| wait.min(api.options().wait_max));
    // Who may not complete it is told so before anything of the body is held.
    let mut upload = api.pipeline().direct_upload(&caller.owner, id).await?;
    let (body, most) = (asking.request.into_body(), completed_bytes_max(&upload));
    let (completed, held) = read::<Completed>(api, body, asking.end, most).await?;
    let sent = completed.into_sent();
    let began = Instant::now();
    let ingested = loop {
        if upload.state != State::Open {
            break api.pipeline().outcome_of(&upload).await?;
        }
        // All of this request's body is there, and the photo's bytes come from the bucket: no slow client holds this.
        let lease = api.admit(&caller, Some(upload.bytes)).await?;
        match api.pipeline().finish_direct(lease, id, sent.clone()).await {
            Err(DirectError::Busy(_)) if began.elapsed() < BUSY_WAIT => {
                upload = not_claimed(api, &caller.owner, id, began).await?;
            }
            finished => break finished?,
        }
    };
    drop((sent, held));
    let view = view_of_own(api, &ingested.photo, ingested.duplicate).await;
    let view = settled(api, view, wait.map(|wait| Instant::now() + wait)).await;
    let status = if view.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    let mut answer = response::json(status, &view);
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/photos/{}", view.id)) {
        answer.headers_mut().insert(LOCATION, location);
    }
    Ok(answer)
}

/// How many bytes the completion of an upload may have: those of its parts, and not those of the most that there are.
fn completed_bytes_max(upload: &DirectUpload) -> usize {
    let parts = upload.parts.as_ref().map_or(0, |parts| parts.count(upload.bytes));
    let parts = usize::try_from(parts).unwrap_or(usize::MAX);
    parts.saturating_mul(COMPLETED_PART_BYTES_MAX).saturating_add(COMPLETED_BYTES_MAX)
}

/// Waits for whoever is completing it, for a while; the upload as it is then.
async fn not_claimed(
    api: &Api,
    owner: &OwnerId,
    id: UploadId,
    began: Instant,
) -> Result<DirectUpload, Problem> {
    loop {
        let upload = api.pipeline().direct_upload(owner, id).await?;
        let is_claimed = upload.state == State::Open && upload.claim.is_some();
        if !is_claimed || began.elapsed() >= BUSY_WAIT {
            return Ok(upload);
        }
        tokio::time::sleep(BUSY_POLL).await;
    }
}
