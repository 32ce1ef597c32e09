//! Photos as records: one, a list, their removal.

use std::time::Duration;

use darkroom_store::StoreError;
use darkroom_store::model::PhotoId;
use darkroom_store::model::photos::{self, Photo, State};
use hyper::{HeaderMap, StatusCode};
use tokio::time::{Instant, timeout_at};

use crate::Api;
use crate::caller::Caller;
use crate::pages::{self, Page};
use crate::problem::Problem;
use crate::request::{Query, preferred_wait};
use crate::response::{self, Answer};
use crate::view::PhotoView;

/// How often a waiter looks by itself, for a photo that another node settles.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The id in a path.
///
/// # Errors
/// `photo-not-found`: what is no id is no photo's.
pub fn parse_id(text: &str) -> Result<PhotoId, Problem> {
    text.parse().map_err(|_| Problem::photo_not_found(text))
}

/// The record.
///
/// # Errors
/// `photo-not-found`, and those of the store.
pub async fn find(api: &Api, id: PhotoId) -> Result<Photo, Problem> {
    load(api, id).await?.ok_or_else(|| Problem::photo_not_found(&id.to_string()))
}

async fn load(api: &Api, id: PhotoId) -> Result<Option<Photo>, StoreError> {
    api.pipeline().metadata().read("get photo", |tx| async move { photos::get(&tx, id).await }).await
}

/// The photo once it is ready or failed, or as it is after `wait`; `None` if it was deleted.
///
/// # Errors
/// Those of the store.
pub async fn wait_until_settled(api: &Api, id: PhotoId, wait: Duration) -> Result<Option<Photo>, StoreError> {
    wait_until(api, id, wait, |photo| photo.state != State::Processing).await
}

/// The photo once `done` holds for it, or as it is after `wait`; `None` if it was deleted.
///
/// # Errors
/// Those of the store.
pub async fn wait_until(
    api: &Api,
    id: PhotoId,
    wait: Duration,
    done: impl Fn(&Photo) -> bool,
) -> Result<Option<Photo>, StoreError> {
    let deadline = Instant::now() + wait;
    // Before the record is read, so that no change falls between.
    let mut waiting = api.pipeline().wait_for(id);
    loop {
        let photo = load(api, id).await?;
        if photo.as_ref().is_none_or(&done) || Instant::now() >= deadline {
            return Ok(photo);
        }
        let look = deadline.min(Instant::now() + LOOK_EVERY);
        // Whether woken or not, the record says how things are.
        let _ = timeout_at(look, waiting.changed()).await;
    }
}

/// `GET /v1/photos/{id}`, which waits as `Prefer: wait` asks.
///
/// # Errors
/// `photo-not-found`, and those of the store.
pub async fn get(api: &Api, headers: &HeaderMap, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let id = parse_id(id)?;
    let wait = preferred_wait(headers).unwrap_or_default().min(api.options().wait_max);
    let photo = wait_until_settled(api, id, wait).await?;
    let photo = photo.ok_or_else(|| Problem::photo_not_found(&id.to_string()))?;
    Ok(response::json(StatusCode::OK, &PhotoView::new(&photo, api.pipeline().presets())))
}

/// `GET /v1/photos`: newest first.
///
/// # Errors
/// `invalid-parameter`, and those of the store.
pub async fn list(api: &Api, caller: &Caller, query: Option<&str>) -> Result<Answer, Problem> {
    let query = Query::parse(query, &["limit", "cursor"])?;
    let (limit, before) = (pages::limit(&query)?, pages::cursor::<PhotoId>(&query)?);
    caller.user()?;
    let owner = &caller.owner;
    let found = api
        .pipeline()
        .metadata()
        // One more than asked for tells whether there is a next page.
        .read("list photos", |tx| async move { photos::list(&tx, owner, before, limit + 1).await })
        .await?;
    let page = Page::of(found, limit, |photo| photo.id.0.as_simple().to_string());
    let page = page.map(|photo| PhotoView::new(&photo, api.pipeline().presets()));
    Ok(response::json(StatusCode::OK, &page))
}

/// `DELETE /v1/photos/{id}`.
///
/// # Errors
/// `photo-not-found`, and those of the store.
pub async fn delete(api: &Api, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    if api.pipeline().delete(parse_id(id)?).await? {
        Ok(response::empty(StatusCode::NO_CONTENT))
    } else {
        Err(Problem::photo_not_found(id))
    }
}
