//! `GET /v1/batches/{id}/items`: what became of each file, by page or as lines.

use std::io;

use bytes::Bytes;
use darkroom_store::StoreError;
use darkroom_store::metadata::Metadata;
use darkroom_store::model::batches::{self, ItemState, Listed};
use darkroom_store::model::{BatchId, ItemId};
use futures_util::{Stream, stream};
use hyper::header::ACCEPT;
use hyper::{HeaderMap, StatusCode};
use serde::Serialize;
use tokio::time::Instant;

use super::find;
use super::view::ItemView;
use crate::Api;
use crate::caller::Caller;
use crate::pages;
use crate::problem::Problem;
use crate::request::{Query, header};
use crate::response::{self, Answer};

/// Items of a page that does not say how many it wants.
const LIMIT_DEFAULT: usize = 100;
/// Items of a page at most.
const LIMIT_MAX: usize = 1000;
/// Rows looked at in one transaction, in search of items in a state that most are in, or were.
const ROWS: usize = 1000;
/// Transactions of one page in such a search. After that the page is answered, however few items it has.
const LOOKS_MAX: usize = 20;
/// Items of a stream that are read at once.
const READ_AHEAD: usize = 500;
/// What a stream of items is.
const LINES: &str = "application/x-ndjson";

#[derive(Serialize)]
struct Page {
    items: Vec<ItemView>,
    next: Option<String>,
}

/// Which items are wanted.
#[derive(Clone, Copy)]
struct Wanted {
    batch: BatchId,
    state: Option<ItemState>,
}

/// One page, or, to those who accept lines, every item from the cursor on.
///
/// # Errors
/// `batch-not-found`, `invalid-parameter`, and those of the store.
pub async fn list(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    query: Option<&str>,
    id: &str,
) -> Result<Answer, Problem> {
    let query = Query::parse(query, &["state", "limit", "cursor"])?;
    let (limit, after) =
        (pages::limit_within(&query, LIMIT_DEFAULT, LIMIT_MAX)?, pages::cursor::<ItemId>(&query)?);
    let wanted = Wanted { batch: find(api, caller, id).await?.id, state: state(&query)? };
    let metadata = api.pipeline().metadata();
    if wants_lines(headers) {
        let deadline = Instant::now() + api.options().body_timeout;
        return Ok(response::streamed_or_broken_off(LINES, lines(metadata.clone(), wanted, after), deadline));
    }
    let Listed { items, next } = page(metadata, wanted, after, limit).await?;
    let items = items.iter().map(|(_, item)| ItemView::new(item)).collect();
    let next = next.map(|id| id.0.as_simple().to_string());
    Ok(response::json(StatusCode::OK, &Page { items, next }))
}

fn state(query: &Query) -> Result<Option<ItemState>, Problem> {
    let Some(text) = query.get("state") else { return Ok(None) };
    ItemState::parse(text).map(Some).ok_or_else(|| {
        let known = ItemState::ALL.map(ItemState::as_str).join(", ");
        Problem::new("invalid-parameter", format!("state={text:?} is not known: give one of {known}"))
    })
}

fn wants_lines(headers: &HeaderMap) -> bool {
    let types = header(headers, ACCEPT.as_str()).unwrap_or_default().split(',');
    let mut essences = types.filter_map(|accepted| accepted.split(';').next());
    essences.any(|essence| essence.trim().eq_ignore_ascii_case(LINES))
}

async fn page(
    metadata: &Metadata,
    wanted: Wanted,
    after: Option<ItemId>,
    limit: usize,
) -> Result<Listed, StoreError> {
    let Wanted { batch, state } = wanted;
    let mut found = Listed { items: Vec::new(), next: after };
    for look in 0..LOOKS_MAX {
        // One more than asked for tells whether there is a next page.
        let rows = if look == 0 { limit + 1 } else { ROWS };
        let from = found.next;
        let list = |tx| async move { batches::list_items(&tx, batch, state, from, rows).await };
        let listed = metadata.read("list items of batch", list).await?;
        found.items.extend(listed.items);
        found.next = listed.next;
        if found.items.len() > limit {
            found.items.truncate(limit);
            found.next = found.items.last().map(|(id, _)| *id);
            break;
        }
        if found.next.is_none() {
            break;
        }
    }
    Ok(found)
}

/// Every item from `after` on, one per line, read as the client takes them. A store that fails breaks the answer off, so
/// that nobody takes a part for the whole.
fn lines(
    metadata: Metadata,
    wanted: Wanted,
    after: Option<ItemId>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::unfold(Some((metadata, after)), move |state| async move {
        let (metadata, after) = state?;
        match page(&metadata, wanted, after, READ_AHEAD).await {
            Ok(listed) => {
                let rest = listed.next.map(|next| (metadata, Some(next)));
                Some((Ok(written(&listed)), rest))
            }
            Err(error) => {
                tracing::error!(%error, "the items of a batch could not be read to their end");
                Some((Err(io::Error::other(error)), None))
            }
        }
    })
}

fn written(listed: &Listed) -> Bytes {
    let mut text = Vec::new();
    for (_, item) in &listed.items {
        if let Err(error) = serde_json::to_writer(&mut text, &ItemView::new(item)) {
            tracing::error!(%error, "an item could not be written as JSON");
            continue;
        }
        text.push(b'\n');
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_for_those_who_ask_for_them() {
        let wants = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            wants_lines(&headers)
        };
        assert!(wants("application/x-ndjson") && wants("text/html, Application/X-NDJSON;q=0.9"));
        assert!(!wants("application/json") && !wants("*/*"));
        assert!(!wants_lines(&HeaderMap::new()));
    }
}
