//! A batch is opened, shown, closed, cancelled.

use darkroom_store::StoreError;
use darkroom_store::metadata::Metadata;
use darkroom_store::model::batches::{self, Batch, Opened, Opening, Standing, Told};
use darkroom_store::model::{BatchId, Timestamp};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::view::{BatchView, window_start};
use super::{find, not_found, parse_id};
use crate::Api;
use crate::caller::Caller;
use crate::idempotency::{self, Asked, Claimed};
use crate::pages;
use crate::problem::Problem;
use crate::request::small_json;
use crate::request::{BodyEnd, Query};
use crate::response::{self, Answer};

/// Batches of a page that does not say how many it wants.
const LIMIT_DEFAULT: usize = 50;
/// Batches of a page at most.
const LIMIT_MAX: usize = 200;
/// Bytes of a request that opens a batch, beside its name.
const OPENING_BYTES_MAX: usize = 4096;

/// What a client says of a batch that it opens.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    expected: Option<u64>,
    #[serde(default)]
    expected_bytes: Option<u64>,
}

/// `POST /v1/batches`.
///
/// # Errors
/// `invalid-json`, `invalid-parameter`, `too-many-batches`, and those of the store.
pub async fn open(
    api: &Api,
    caller: &Caller,
    query: Option<&str>,
    request: Request<Incoming>,
    end: BodyEnd,
) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let (head, body) = request.into_parts();
    let options = &api.options().batches;
    // A character may be written in six of JSON.
    let wanted: Wanted = small_json(api, body, end, OPENING_BYTES_MAX + 6 * options.name_bytes_max).await?;
    if let Some(name) = &wanted.name
        && name.len() > options.name_bytes_max
    {
        let detail =
            format!("the name has {} bytes: give one of at most {}", name.len(), options.name_bytes_max);
        return Err(Problem::new("invalid-parameter", detail));
    }
    let content = serde_json::to_vec(&wanted).unwrap_or_default();
    let asked = Asked::new(&Request::from_parts(head, ()), &[&content])?;
    match idempotency::claim(api, &caller.owner, asked, false).await? {
        Claimed::Answered(answer) => Ok(answer),
        Claimed::Go(claim) => {
            let outcome = make(api, caller, wanted, BatchId(claim.series().0)).await;
            claim.answer(outcome).await
        }
    }
}

async fn make(api: &Api, caller: &Caller, wanted: Wanted, id: BatchId) -> Result<Answer, Problem> {
    let options = &api.options().batches;
    let batch = Batch {
        id,
        owner: caller.owner.clone(),
        name: wanted.name,
        standing: Standing::Open,
        expected: wanted.expected,
        expected_bytes: wanted.expected_bytes,
        created: Timestamp::now(),
        keep_ms: u64::try_from(options.keep.as_millis()).unwrap_or(u64::MAX),
        ended: None,
    };
    let opening = &Opening { batch, open_max: options.open_max };
    let open = |tx| async move { batches::open(&tx, opening).await };
    let Opened::Done(batch) = api.pipeline().metadata().transact("open batch", open).await? else {
        let detail = format!(
            "you have {} open batches, as many as may be: close or cancel those that are done",
            options.open_max
        );
        return Err(Problem::new("too-many-batches", detail));
    };
    let location = format!("/v1/batches/{}", batch.id);
    let mut answer = response::json(StatusCode::CREATED, &look(api.pipeline().metadata(), batch).await?);
    if let Ok(location) = HeaderValue::from_str(&location) {
        answer.headers_mut().insert(LOCATION, location);
    }
    Ok(answer)
}

/// The batch as it stands now.
pub(super) async fn look(metadata: &Metadata, batch: Batch) -> Result<BatchView, StoreError> {
    let (now, batch) = (Timestamp::now(), &batch);
    let progress = |tx| async move { batches::progress(&tx, batch.clone(), window_start(now)).await };
    Ok(BatchView::new(&metadata.read("look at batch", progress).await?, now))
}

/// `GET /v1/batches/{id}`.
///
/// # Errors
/// `batch-not-found`, and those of the store.
pub async fn show(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let batch = find(api, caller, id).await?;
    Ok(response::json(StatusCode::OK, &look(api.pipeline().metadata(), batch).await?))
}

#[derive(Serialize)]
struct Page {
    items: Vec<BatchView>,
    next: Option<String>,
}

/// `GET /v1/batches`: the caller's, newest first.
///
/// # Errors
/// `invalid-parameter`, and those of the store.
pub async fn list(api: &Api, caller: &Caller, query: Option<&str>) -> Result<Answer, Problem> {
    let query = Query::parse(query, &["limit", "cursor"])?;
    let (limit, before) =
        (pages::limit_within(&query, LIMIT_DEFAULT, LIMIT_MAX)?, pages::cursor::<BatchId>(&query)?);
    let (owner, metadata) = (&caller.owner, api.pipeline().metadata());
    // One more than asked for tells whether there is a next page.
    let list = |tx| async move { batches::list(&tx, owner, before, limit + 1).await };
    let mut found = metadata.read("list batches", list).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|batch| batch.id.0.as_simple().to_string());
    let mut items = Vec::with_capacity(found.len());
    for batch in found {
        items.push(look(metadata, batch).await?);
    }
    Ok(response::json(StatusCode::OK, &Page { items, next }))
}

/// `POST /v1/batches/{id}/close`: its client has sent everything.
///
/// # Errors
/// `batch-not-found`, `batch-cancelled`, and those of the store.
pub async fn close(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let (owner, parsed, now) = (&caller.owner, parse_id(id)?, Timestamp::now());
    let close = |tx| async move { batches::close(&tx, parsed, owner, now).await };
    told(api, id, api.pipeline().metadata().transact("close batch", close).await?).await
}

/// `POST /v1/batches/{id}/cancel`. A POST and no DELETE, because nothing is deleted: the record stays to be read, with
/// what became of each file, and so do the photos.
///
/// # Errors
/// `batch-not-found`, and those of the store.
pub async fn cancel(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let (owner, parsed, now) = (&caller.owner, parse_id(id)?, Timestamp::now());
    let cancel = |tx| async move { batches::cancel(&tx, parsed, owner, now).await };
    told(api, id, api.pipeline().metadata().transact("cancel batch", cancel).await?).await
}

async fn told(api: &Api, id: &str, told: Told) -> Result<Answer, Problem> {
    match told {
        Told::Done(batch) => {
            Ok(response::json(StatusCode::OK, &look(api.pipeline().metadata(), batch).await?))
        }
        Told::Cancelled => {
            Err(Problem::new("batch-cancelled", "the batch was cancelled before: there is nothing to close"))
        }
        Told::NotFound => Err(not_found(id)),
    }
}
