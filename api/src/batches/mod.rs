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

use darkroom_store::model::batches::{self, Batch};
use darkroom_store::model::{BatchId, OwnerId};
use hyper::Method;

use crate::Api;
use crate::caller::Caller;
use crate::problem::Problem;
use crate::routes::{Asking, Routed, Routes, not_allowed};

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
