//! `/v1/albums`: photos of one owner that belong together. See docs/people.md.

use darkroom_store::StoreError;
use darkroom_store::metadata::Transaction;
use darkroom_store::model::albums::{self, Album, Created};
use darkroom_store::model::visibility::{self, Viewer, Visibility};
use darkroom_store::model::{AlbumId, OwnerId, PhotoId, Timestamp, UserId, photos};
use futures_util::future::try_join_all;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};

use crate::Api;
use crate::caller::Caller;
use crate::fields;
use crate::idempotency::{self, Asked, Claimed};
use crate::pages::{self, Page};
use crate::photos as photo_records;
use crate::problem::Problem;
use crate::request::{BodyEnd, Query, small_json};
use crate::response::{self, Answer};
use crate::routes::{Asking, Routed, Routes, not_allowed};
use crate::view::rfc3339;

/// What is answered here.
pub const ROUTES: Routes = &[
    ("POST", "/v1/albums"),
    ("GET", "/v1/albums"),
    ("GET", "/v1/albums/{id}"),
    ("PATCH", "/v1/albums/{id}"),
    ("DELETE", "/v1/albums/{id}"),
    ("GET", "/v1/albums/{id}/photos"),
];

/// Bytes of what a client says of an album: a character may be written in twelve of JSON.
const BODY_BYTES_MAX: usize = 12 * albums::TITLE_CHARS_MAX + 4096;

/// Answers what is below `/v1/albums`.
pub(crate) async fn route(api: &Api, asking: Asking, rest: &[&str]) -> Routed {
    let Asking { request, caller, end, .. } = asking;
    let method = request.method().clone();
    let get = method == Method::GET || method == Method::HEAD;
    let query = request.uri().query().map(ToOwned::to_owned);
    let query = query.as_deref();
    match rest {
        [] => (
            "/v1/albums",
            match method {
                Method::POST => create(api, &caller, query, request, end).await,
                _ if get => list(api, &caller, query).await,
                _ => not_allowed("GET, HEAD, POST"),
            },
        ),
        [id] => (
            "/v1/albums/{id}",
            match method {
                Method::PATCH => edit(api, &caller, query, id, (request.into_body(), end)).await,
                Method::DELETE => delete(api, &caller, query, id).await,
                _ if get => show(api, &caller, query, id).await,
                _ => not_allowed("GET, HEAD, PATCH, DELETE"),
            },
        ),
        [id, "photos"] => (
            "/v1/albums/{id}/photos",
            if get { list_photos(api, &caller, query, id).await } else { not_allowed("GET, HEAD") },
        ),
        _ => (
            "unknown",
            Err(Problem::new("not-found", "there is nothing here: see /openapi.json for what there is")),
        ),
    }
}

/// An album as clients see it.
#[derive(Clone, Debug, Serialize)]
pub struct AlbumView {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub owner_id: String,
    /// What its owner calls it.
    pub title: String,
    /// Who sees it.
    pub visibility: Visibility,
    /// How many photos are in it. Its owner's alone, since others may not see each of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub photos_count: Option<u64>,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it last changed, RFC 3339.
    pub updated_at: String,
}

/// The album as the viewer sees it, who may.
async fn view(tx: &Transaction, viewer: Viewer, album: Album) -> Result<AlbumView, StoreError> {
    let is_own = viewer.user() == Some(album.owner);
    let photos_count = if is_own { Some(albums::photos_count(tx, album.id).await?) } else { None };
    Ok(AlbumView {
        id: album.id.to_string(),
        owner_id: album.owner.to_string(),
        title: album.title,
        visibility: album.visibility,
        photos_count,
        created_at: rfc3339(album.created),
        updated_at: rfc3339(album.updated),
    })
}

fn parse_id(text: &str) -> Result<AlbumId, Problem> {
    text.parse().map_err(|_| not_found(text))
}

/// There is no such album for the caller.
pub(crate) fn not_found(id: &str) -> Problem {
    let detail = format!("there is no album {id:?} that you may use: it was deleted, or the id is wrong");
    Problem::new("album-not-found", detail)
}

/// Whether a photo of this owner may be put into the album, if it is to be in one. Asked before a body is read; an album that
/// goes while it comes has no photos any more.
///
/// # Errors
/// `album-not-found`, and those of the store.
pub async fn admitted(api: &Api, owner: &OwnerId, album: Option<AlbumId>) -> Result<(), Problem> {
    let Some(id) = album else { return Ok(()) };
    let find = |tx| async move { albums::of_owner(&tx, id, owner).await };
    let found = api.pipeline().metadata().read("find album", find).await?;
    found.map(drop).ok_or_else(|| not_found(&id.to_string()))
}

/// What a client says of an album.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    title: Option<String>,
    visibility: Option<Visibility>,
}

impl Wanted {
    /// The same, with its title checked.
    fn checked(self) -> Result<Self, Problem> {
        let title = self.title.map(|title| fields::line("title", &title, albums::TITLE_CHARS_MAX));
        let title = title.transpose()?;
        if title.as_ref().is_some_and(String::is_empty) {
            return Err(Problem::new("invalid-parameter", "the title is empty: give the album one"));
        }
        Ok(Self { title, ..self })
    }
}

async fn create(
    api: &Api,
    caller: &Caller,
    query: Option<&str>,
    request: Request<Incoming>,
    end: BodyEnd,
) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let owner = caller.user()?;
    let (head, body) = request.into_parts();
    let wanted = small_json::<Wanted>(api, body, end, BODY_BYTES_MAX).await?.checked()?;
    let content = serde_json::to_vec(&wanted).unwrap_or_default();
    let asked = Asked::new(&Request::from_parts(head, ()), &[&content])?;
    match idempotency::claim(api, &caller.owner, asked, false).await? {
        Claimed::Answered(answer) => Ok(answer),
        Claimed::Go(claim) => {
            let outcome = make(api, owner, wanted, AlbumId(claim.series().0)).await;
            claim.answer(outcome).await
        }
    }
}

async fn make(api: &Api, owner: UserId, wanted: Wanted, id: AlbumId) -> Result<Answer, Problem> {
    let title =
        wanted.title.ok_or_else(|| Problem::new("invalid-parameter", "give the album a \"title\""))?;
    let visibility = wanted.visibility.unwrap_or(Visibility::Private);
    let now = Timestamp::now();
    let (album, most) = (
        &Album { id, owner, title, visibility, created: now, updated: now },
        api.options().people.albums_max,
    );
    let create = |tx| async move {
        Ok(match albums::create(&tx, album, most).await? {
            Created::Done(album) => Some(view(&tx, Viewer::User(owner), album).await?),
            Created::TooMany => None,
        })
    };
    let made = api.pipeline().metadata().transact("make album", create).await?;
    let made = made.ok_or_else(|| {
        let detail = format!("you have {most} albums, as many as may be: delete one that you no longer need");
        Problem::new("too-many-albums", detail)
    })?;
    let mut answer = response::json(StatusCode::CREATED, &made);
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/albums/{id}")) {
        answer.headers_mut().insert(LOCATION, location);
    }
    Ok(answer)
}

async fn list(api: &Api, caller: &Caller, query: Option<&str>) -> Result<Answer, Problem> {
    let query = Query::parse(query, &["limit", "cursor"])?;
    let (limit, before) = (pages::limit(&query)?, pages::cursor::<AlbumId>(&query)?);
    let (owner, viewer) = (caller.user()?, caller.viewer);
    let list = |tx| async move {
        // One more than asked for tells whether there is a next page.
        let found = albums::list(&tx, owner, before, limit + 1).await?;
        let Page { items, next } = Page::of(found, limit, |album| album.id.0.as_simple().to_string());
        let mut views = Vec::with_capacity(items.len());
        for album in items {
            views.push(view(&tx, viewer, album).await?);
        }
        Ok(Page { items: views, next })
    };
    Ok(response::json(StatusCode::OK, &api.pipeline().metadata().read("list albums", list).await?))
}

async fn show(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let (parsed, viewer) = (parse_id(id)?, caller.viewer);
    let show = |tx| async move {
        match albums::seen(&tx, viewer, parsed).await? {
            Some(album) => view(&tx, viewer, album).await.map(Some),
            None => Ok(None),
        }
    };
    let found = api.pipeline().metadata().read("show album", show).await?;
    Ok(response::json(StatusCode::OK, &found.ok_or_else(|| not_found(id))?))
}

async fn edit(
    api: &Api,
    caller: &Caller,
    query: Option<&str>,
    id: &str,
    (body, end): (Incoming, BodyEnd),
) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    caller.user()?;
    let (parsed, owner, viewer) = (parse_id(id)?, &caller.owner, caller.viewer);
    let wanted = &small_json::<Wanted>(api, body, end, BODY_BYTES_MAX).await?.checked()?;
    let now = Timestamp::now();
    let change = |tx| async move {
        let apply = |album: &mut Album| {
            if let Some(title) = &wanted.title {
                album.title.clone_from(title);
            }
            album.visibility = wanted.visibility.unwrap_or(album.visibility);
        };
        match albums::edit(&tx, (parsed, owner, now), apply).await? {
            Some(album) => view(&tx, viewer, album).await.map(Some),
            None => Ok(None),
        }
    };
    let edited = api.pipeline().metadata().transact("edit album", change).await?;
    Ok(response::json(StatusCode::OK, &edited.ok_or_else(|| not_found(id))?))
}

async fn delete(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    caller.user()?;
    let (parsed, owner) = (parse_id(id)?, &caller.owner);
    let delete = |tx| async move { albums::delete(&tx, parsed, owner).await };
    let found = api.pipeline().metadata().transact("delete album", delete).await?;
    if found { Ok(response::empty(StatusCode::NO_CONTENT)) } else { Err(not_found(id)) }
}

async fn list_photos(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    let query = Query::parse(query, &["limit", "cursor"])?;
    let (limit, before) = (pages::limit(&query)?, pages::cursor::<PhotoId>(&query)?);
    let (parsed, viewer, presets) = (parse_id(id)?, caller.viewer, api.pipeline().presets());
    let look = |tx: Transaction| async move {
        let Some(album) = albums::seen(&tx, viewer, parsed).await? else { return Ok(None) };
        // All of them are the album's owner's.
        let relation = visibility::relation(&tx, viewer, album.owner).await?;
        let found = albums::photos(&tx, parsed, before, limit + 1).await?;
        let Page { items, next } = Page::of(found, limit, |photo| photo.0.as_simple().to_string());
        let tx = &tx;
        let read = items.into_iter().map(|id| async move {
            let Some(photo) = photos::get(tx, id).await? else { return Ok(None) };
            if !visibility::admits_photo(tx, relation, &photo).await? {
                return Ok(None);
            }
            photo_records::view(tx, relation, photo, presets).await.map(Some)
        });
        let items = try_join_all(read).await?.into_iter().flatten().collect();
        Ok::<_, StoreError>(Some(Page { items, next }))
    };
    let page = api.pipeline().metadata().read("list photos of an album", look).await?;
    Ok(response::json(StatusCode::OK, &page.ok_or_else(|| not_found(id))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_album_has_a_title_within_bounds() {
        let checked = |text: &str| serde_json::from_str::<Wanted>(text).unwrap().checked();
        assert_eq!(checked(r#"{"title": " Sea "}"#).unwrap().title.as_deref(), Some("Sea"));
        assert_eq!(checked(r#"{"visibility": "public"}"#).unwrap().visibility, Some(Visibility::Public));
        assert!(checked(r#"{"title": " "}"#).unwrap_err().is("invalid-parameter"));
        let long = format!(r#"{{"title": "{}"}}"#, "x".repeat(albums::TITLE_CHARS_MAX + 1));
        assert!(checked(&long).unwrap_err().is("invalid-parameter"));
        assert!(
            serde_json::from_str::<Wanted>(r#"{"visibility": "inherit"}"#).is_err(),
            "albums inherit of nobody"
        );
    }
}
