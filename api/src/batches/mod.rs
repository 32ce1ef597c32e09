//! `/v1/batches`: many uploads that are followed as one.
//!
//! - [`records`]: opened, shown, listed, closed, cancelled.
//! - [`items`]: what became of each file, by page or as lines.
//! - [`events`]: the counts as they change. [`followers`]: one look at the metadata for all who follow a batch.
//! - [`check`]: which of many files are here already.
//! - [`refusals`]: files of which no photo is made.
//! - [`view`]: the JSON of all that.

pub mod check;
pub mod events;
pub mod followers;
pub mod items;
pub mod options;
pub mod records;
pub mod refusals;
pub mod view;

use std::time::Duration;

use darkroom_store::model::batches::{self, Batch};
use darkroom_store::model::{BatchId, OwnerId};
use hyper::Method;
use hyper::body::Incoming;

use crate::Api;
use crate::caller::Caller;
use crate::problem::Problem;
use crate::request::{BodyDeadlines, BodyEnd, Query, body_bytes};
use crate::routes::{Asking, Routed, Routes, not_allowed};

/// Longest that a small body may take: it holds its place for so long.
const JSON_TIME_MAX: Duration = Duration::from_secs(60);

/// What is answered here.
pub const ROUTES: Routes = &[
    ("POST", "/v1/batches"),
    ("GET", "/v1/batches"),
    ("GET", "/v1/batches/{id}"),
    ("GET", "/v1/batches/{id}/items"),
    ("GET", "/v1/batches/{id}/events"),
    ("POST", "/v1/batches/{id}/check"),
    ("POST", "/v1/batches/{id}/close"),
    ("POST", "/v1/batches/{id}/cancel"),
];

/// What is below `/v1/batches`.
pub async fn route(api: &Api, asking: Asking, rest: &[&str]) -> Routed {
    let Asking { request, caller, end, .. } = asking;
    let method = request.method().clone();
    let (get, post) = (method == Method::GET || method == Method::HEAD, method == Method::POST);
    let query = request.uri().query().map(ToOwned::to_owned);
    let query = query.as_deref();
    match rest {
        [] => ("/v1/batches", {
            if post {
                records::open(api, &caller, query, request, end).await
            } else if get {
                records::list(api, &caller, query).await
            } else {
                not_allowed("GET, HEAD, POST")
            }
        }),
        [id] => ("/v1/batches/{id}", {
            if get { records::show(api, &caller, query, id).await } else { not_allowed("GET, HEAD") }
        }),
        [id, "items"] => ("/v1/batches/{id}/items", {
            let headers = request.headers();
            if get { items::list(api, &caller, headers, query, id).await } else { not_allowed("GET, HEAD") }
        }),
        [id, "events"] => ("/v1/batches/{id}/events", {
            let headers = request.headers();
            if get {
                events::follow(api, &caller, headers, query, id).await
            } else {
                not_allowed("GET, HEAD")
            }
        }),
        [id, "check"] => ("/v1/batches/{id}/check", {
            if post {
                check::check(api, &caller, query, id, request.into_body(), end).await
            } else {
                not_allowed("POST")
            }
        }),
        [id, "close"] => ("/v1/batches/{id}/close", {
            if post { records::close(api, &caller, query, id).await } else { not_allowed("POST") }
        }),
        [id, "cancel"] => ("/v1/batches/{id}/cancel", {
            if post { records::cancel(api, &caller, query, id).await } else { not_allowed("POST") }
        }),
        _ => ("unknown", {
            Err(Problem::new("not-found", "there is nothing here: see /openapi.json for what there is"))
        }),
    }
}

/// The id in a path.
fn parse_id(text: &str) -> Result<BatchId, Problem> {
    text.parse().map_err(|_| not_found(text))
}

fn not_found(id: &str) -> Problem {
    let detail = format!("there is no batch {id:?} of yours: it has expired, or the id is wrong");
    Problem::new("batch-not-found", detail)
}

/// The caller's batch.
async fn find(api: &Api, caller: &Caller, id: &str) -> Result<Batch, Problem> {
    let parsed = parse_id(id)?;
    let get = |tx| async move { batches::get(&tx, parsed).await };
    let found = api.pipeline().metadata().read("get batch", get).await?;
    found.filter(|batch| batch.owner == caller.owner).ok_or_else(|| not_found(id))
}

/// Whether an upload of this owner may name the batch, if it names one.
///
/// # Errors
/// `batch-not-found`, `batch-closed`, `batch-cancelled`, and those of the store.
pub async fn admitted(api: &Api, owner: &OwnerId, batch: Option<BatchId>) -> Result<(), Problem> {
    let Some(batch) = batch else { return Ok(()) };
    let admission = |tx| async move { batches::admission(&tx, batch, owner).await };
    api.pipeline().metadata().read("get batch", admission).await??;
    Ok(())
}

/// The query's `limit`.
fn limit(query: &Query, default: usize, max: usize) -> Result<usize, Problem> {
    let Some(text) = query.get("limit") else { return Ok(default) };
    text.parse().ok().filter(|limit| (1..=max).contains(limit)).ok_or_else(|| {
        Problem::new("invalid-parameter", format!("limit={text:?} is not a number from 1 to {max}"))
    })
}

/// The query's `cursor`.
fn cursor<T: std::str::FromStr>(query: &Query) -> Result<Option<T>, Problem> {
    let damaged = |_| {
        Problem::new("invalid-parameter", "the cursor is damaged: take it from `next` of the page before")
    };
    query.get("cursor").map(|text| text.parse().map_err(damaged)).transpose()
}

/// A small JSON body.
async fn json<T: serde::de::DeserializeOwned>(
    api: &Api,
    body: Incoming,
    end: BodyEnd,
    bytes_max: usize,
) -> Result<T, Problem> {
    let whole = api.options().body_timeout.min(JSON_TIME_MAX);
    let deadlines = BodyDeadlines { whole, ..BodyDeadlines::of(api.options()) };
    crate::request::json(body_bytes(body, end, deadlines, bytes_max as u64), bytes_max).await
}
