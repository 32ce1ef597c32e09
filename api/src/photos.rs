//! Photos as records: one, a list, what their owner says of them, their removal.
//!
//! Whoever reads a photo asks whether its viewer may see it in the transaction that reads the record ([`look`]), here and for
//! its bytes: what was hidden is not found from the next request on.

use std::time::Duration;

use darkroom_actors::Preset;
use darkroom_actors::outcomes::Waiting;
use darkroom_store::StoreError;
use darkroom_store::metadata::Transaction;
use darkroom_store::model::photos::{self, Edited, Editing, Fields, Photo, State};
use darkroom_store::model::visibility::{self, PhotoVisibility, Relation, Viewer};
use darkroom_store::model::{AlbumId, OwnerId, PhotoId, Timestamp, albums};
use hyper::body::Incoming;
use hyper::{HeaderMap, StatusCode};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use crate::Api;
use crate::albums::not_found as album_not_found;
use crate::caller::Caller;
use crate::fields;
use crate::pages::{self, Page};
use crate::patch::Patch;
use crate::problem::Problem;
use crate::request::{BodyEnd, Query, preferred_wait, small_json};
use crate::response::{self, Answer};
use crate::view::PhotoView;

/// How often a waiter looks by itself, for a photo that another node settles.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Bytes of an edit: a title and as many tags as there may be, each character in twelve of JSON.
const EDIT_BYTES_MAX: usize = 64 << 10;

/// The id in a path.
///
/// # Errors
/// `photo-not-found`: what is no id is no photo's.
pub fn parse_id(text: &str) -> Result<PhotoId, Problem> {
    text.parse().map_err(|_| Problem::photo_not_found(text))
}

/// The record, whoever may see it: for what is known to be the caller's.
///
/// # Errors
/// `photo-not-found`, and those of the store.
pub async fn find(api: &Api, id: PhotoId) -> Result<Photo, Problem> {
    load(api, id).await?.ok_or_else(|| not_found(id))
}

/// There is no such photo for the caller.
pub fn not_found(id: PhotoId) -> Problem {
    Problem::photo_not_found(&id.to_string())
}

async fn load(api: &Api, id: PhotoId) -> Result<Option<Photo>, StoreError> {
    api.pipeline().metadata().read("get photo", |tx| async move { photos::get(&tx, id).await }).await
}

/// A photo that its viewer may see.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its record.
    pub photo: Photo,
    /// How the viewer stands to its owner.
    pub relation: Relation,
    /// Whether everybody may see it.
    pub is_public: bool,
}

/// The photo, if the viewer may see it now.
///
/// # Errors
/// Those of the store.
pub async fn look(api: &Api, viewer: Viewer, id: PhotoId) -> Result<Option<Seen>, StoreError> {
    let look = |tx| async move {
        let Some(photo) = photos::get(&tx, id).await? else { return Ok(None) };
        let Some(relation) = visibility::sees_photo_as(&tx, viewer, &photo).await? else { return Ok(None) };
        let is_public = visibility::admits_photo(&tx, Relation::SignedOut, &photo).await?;
        Ok(Some(Seen { photo, relation, is_public }))
    };
    api.pipeline().metadata().read("look at photo", look).await
}

/// As [`look`].
///
/// # Errors
/// `photo-not-found`, and those of the store.
pub async fn find_seen(api: &Api, viewer: Viewer, id: PhotoId) -> Result<Seen, Problem> {
    look(api, viewer, id).await?.ok_or_else(|| not_found(id))
}

/// The photo once it is ready or failed, or as it is after `wait`; `None` if it was deleted. For what is known to be the
/// caller's.
///
/// # Errors
/// Those of the store.
pub async fn wait_until_settled(api: &Api, id: PhotoId, wait: Duration) -> Result<Option<Photo>, StoreError> {
    let mut patience = Patience::new(api, id, wait);
    loop {
        let photo = load(api, id).await?;
        if photo.as_ref().is_none_or(is_settled) || !patience.goes_on().await {
            return Ok(photo);
        }
    }
}

fn is_settled(photo: &Photo) -> bool {
    photo.state != State::Processing
}

/// The photo once `done` holds for it, or as it is after `wait`; `None` once the viewer may not see it.
///
/// # Errors
/// Those of the store.
pub async fn wait_until_seen(
    api: &Api,
    viewer: Viewer,
    (id, wait): (PhotoId, Duration),
    done: impl Fn(&Photo) -> bool + Send,
) -> Result<Option<Seen>, StoreError> {
    let mut patience = Patience::new(api, id, wait);
    loop {
        let seen = look(api, viewer, id).await?;
        if seen.as_ref().is_none_or(|seen| done(&seen.photo)) || !patience.goes_on().await {
            return Ok(seen);
        }
    }
}

/// Waits for a photo to be another, for so long.
struct Patience {
    deadline: Instant,
    waiting: Waiting,
}

impl Patience {
    /// To be made before the record is read, so that no change falls between.
    fn new(api: &Api, id: PhotoId, wait: Duration) -> Self {
        Self { deadline: Instant::now() + wait, waiting: api.pipeline().wait_for(id) }
    }

    /// Waits until the record is worth another look; false if there is no more time for one.
    async fn goes_on(&mut self) -> bool {
        if Instant::now() >= self.deadline {
            return false;
        }
        let look = self.deadline.min(Instant::now() + LOOK_EVERY);
        // Whether woken or not, the record says how things are.
        let _ = timeout_at(look, self.waiting.changed()).await;
        true
    }
}

/// The view of a photo that somebody may see who stands so to its owner, with what does not stand in its record.
///
/// # Errors
/// Those of the engine.
pub async fn view(
    tx: &Transaction,
    relation: Relation,
    mut photo: Photo,
    presets: &[Preset],
) -> Result<PhotoView, StoreError> {
    if let Some(album) = photo.album
        && (relation != Relation::Owner || albums::get(tx, album).await?.is_none())
    {
        photo.album = None;
    }
    let downloads_count = photos::downloads(tx, photo.id).await?;
    Ok(PhotoView { downloads_count, ..PhotoView::seen_by(relation, &photo, presets) })
}

/// The view of a photo of the caller's that an upload has come to, and that may have been there before. What cannot be read
/// beside its record is left out: that the photo is durable is the answer in any case.
pub async fn view_of_own(api: &Api, photo: &Photo, duplicate: bool) -> PhotoView {
    let presets = api.pipeline().presets();
    let look = |tx| async move { view(&tx, Relation::Owner, photo.clone(), presets).await };
    let view = match api.pipeline().metadata().read("view photo", look).await {
        Ok(view) => view,
        Err(error) => {
            tracing::warn!(photo = %photo.id, %error, "a photo is answered without its downloads");
            PhotoView::new(photo, presets)
        }
    };
    PhotoView { duplicate, ..view }
}

/// `GET /v1/photos/{id}`, which waits as `Prefer: wait` asks.
///
/// # Errors
/// `photo-not-found`, and those of the store.
pub async fn get(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    query: Option<&str>,
    id: &str,
) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let (id, viewer, presets) = (parse_id(id)?, caller.viewer, api.pipeline().presets());
    let wait = preferred_wait(headers).unwrap_or_default().min(api.options().wait_max);
    if !wait.is_zero() {
        wait_until_seen(api, viewer, (id, wait), is_settled).await?;
    }
    let show = |tx| async move {
        let Some(photo) = photos::get(&tx, id).await? else { return Ok(None) };
        let Some(relation) = visibility::sees_photo_as(&tx, viewer, &photo).await? else { return Ok(None) };
        view(&tx, relation, photo, presets).await.map(Some)
    };
    let found = api.pipeline().metadata().read("show photo", show).await?;
    Ok(response::json(StatusCode::OK, &found.ok_or_else(|| not_found(id))?))
}

/// `GET /v1/photos`: the caller's, newest first.
///
/// # Errors
/// `unauthenticated`, `invalid-parameter`, and those of the store.
pub async fn list(api: &Api, caller: &Caller, query: Option<&str>) -> Result<Answer, Problem> {
    let query = Query::parse(query, &["limit", "cursor"])?;
    let (limit, before) = (pages::limit(&query)?, pages::cursor::<PhotoId>(&query)?);
    caller.user()?;
    let (owner, presets) = (&caller.owner, api.pipeline().presets());
    let list = |tx| async move {
        // One more than asked for tells whether there is a next page.
        let found = photos::list(&tx, owner, before, limit + 1).await?;
        let Page { items, next } = Page::of(found, limit, |photo| photo.id.0.as_simple().to_string());
        let mut views = Vec::with_capacity(items.len());
        for photo in items {
            views.push(view(&tx, Relation::Owner, photo, presets).await?);
        }
        Ok(Page { items: views, next })
    };
    Ok(response::json(StatusCode::OK, &api.pipeline().metadata().read("list photos", list).await?))
}

/// What an owner wants to be said of a photo.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    title: Patch<String>,
    tags: Option<Vec<String>>,
    visibility: Option<PhotoVisibility>,
    album_id: Patch<AlbumId>,
}

/// That, checked.
struct Edit {
    title: Patch<String>,
    tags: Option<Vec<String>>,
    visibility: Option<PhotoVisibility>,
    album: Patch<AlbumId>,
}

impl Wanted {
    fn checked(self) -> Result<Edit, Problem> {
        let title = self.title.read(|title| fields::title(&title))?;
        let tags = self.tags.map(|tags| fields::all_tags(tags.iter().map(String::as_str))).transpose()?;
        Ok(Edit { title, tags, visibility: self.visibility, album: self.album_id })
    }
}

impl Edit {
    fn apply(&self, fields: &mut Fields) {
        self.title.apply(&mut fields.title);
        self.album.apply(&mut fields.album);
        if let Some(tags) = &self.tags {
            fields.tags.clone_from(tags);
        }
        fields.visibility = self.visibility.unwrap_or(fields.visibility);
    }
}

/// `PATCH /v1/photos/{id}`, by its owner.
///
/// # Errors
/// `unauthenticated`, `photo-not-found`, `album-not-found`, `invalid-json`, `invalid-parameter`, and those of the store.
pub async fn edit(
    api: &Api,
    caller: &Caller,
    query: Option<&str>,
    id: &str,
    (body, end): (Incoming, BodyEnd),
) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let (owner, id) = (OwnerId::of(caller.user()?), parse_id(id)?);
    let wanted: Wanted = small_json(api, body, end, EDIT_BYTES_MAX).await?;
    let (edit, presets) = (&wanted.checked()?, api.pipeline().presets());
    let editing = &Editing { photo: id, owner, now: Timestamp::now(), history: api.pipeline().history() };
    let change = |tx| async move {
        Ok(match photos::edit(&tx, editing, |fields| edit.apply(fields)).await? {
            Edited::Done(photo) => Ok(view(&tx, Relation::Owner, photo, presets).await?),
            Edited::NoPhoto => Err(not_found(id)),
            Edited::NoAlbum(album) => Err(album_not_found(&album.to_string())),
        })
    };
    let edited = api.pipeline().metadata().transact("edit photo", change).await??;
    Ok(response::json(StatusCode::OK, &edited))
}

/// `DELETE /v1/photos/{id}`, by its owner.
///
/// # Errors
/// `unauthenticated`, `photo-not-found`, and those of the store.
pub async fn delete(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    caller.user()?;
    if api.pipeline().delete_of(parse_id(id)?, &caller.owner).await? {
        Ok(response::empty(StatusCode::NO_CONTENT))
    } else {
        Err(Problem::photo_not_found(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_stays() {
        let album = AlbumId::new();
        let edited = |text: &str| {
            let mut fields = Fields { title: Some("t".to_owned()), album: Some(album), ..Fields::default() };
            let wanted: Wanted = serde_json::from_str(text).unwrap();
            wanted.checked().map(|edit| edit.apply(&mut fields)).map(|()| fields)
        };
        let fields = edited(r##"{"tags": ["#Sea", "sea"], "visibility": "public"}"##).unwrap();
        assert_eq!((fields.title.as_deref(), fields.album), (Some("t"), Some(album)));
        assert_eq!((&fields.tags[..], fields.visibility), (&["sea".to_owned()][..], PhotoVisibility::Public));
        let fields = edited(r#"{"title": null, "album_id": null}"#).unwrap();
        assert_eq!((fields.title, fields.album), (None, None));
        assert_eq!(edited(r#"{"title": ""}"#).unwrap().title, None);
        assert!(edited(r#"{"tags": ["a b"]}"#).unwrap_err().is("invalid-parameter"));
        assert!(serde_json::from_str::<Wanted>(r#"{"visibility": "open"}"#).is_err());
    }
}
