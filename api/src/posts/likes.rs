//! Who likes a post.

use darkroom_store::StoreError;
use darkroom_store::metadata::Transaction;
use darkroom_store::model::likes::{self, Act, Kind};
use darkroom_store::model::posts::{self, counts};
use darkroom_store::model::visibility::Viewer;
use darkroom_store::model::{PostId, Timestamp, UserId};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::Deserialize;

use super::people::People;
use super::view::{CountsView, LikeView, LikedView};
use super::{not_found, parse_id};
use crate::Api;
use crate::caller::Caller;
use crate::pages::{self, Page};
use crate::problem::Problem;
use crate::request::{BodyEnd, Query, small_json};
use crate::response::{self, Answer};

/// Bytes of a request that says how a post is liked.
const BODY_BYTES_MAX: usize = 1024;

/// What a client says of a like.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    kind: Kind,
}

fn act(api: &Api, by: UserId, post: PostId) -> Act {
    Act { post, by, now: Timestamp::now(), history: api.pipeline().history() }
}

/// `PUT /v1/posts/{id}/like`.
///
/// # Errors
/// `post-not-found`, `invalid-json`, and those of the store.
pub async fn like(
    api: &Api,
    caller: &Caller,
    query: Option<&str>,
    (request, end): (Request<Incoming>, BodyEnd),
    id: &str,
) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let (by, post) = (caller.user()?, parse_id(id)?);
    let Wanted { kind } = small_json(api, request.into_body(), end, BODY_BYTES_MAX).await?;
    let (act, metadata) = (&act(api, by, post), api.pipeline().metadata());
    if !metadata.transact("like post", |tx| async move { likes::like(&tx, act, kind).await }).await? {
        return Err(not_found(id));
    }
    let counts = metadata.read("count likes", |tx| async move { counts::of(&tx, post).await }).await?;
    Ok(response::json(StatusCode::OK, &LikedView { liked: kind, counts: CountsView::new(&counts) }))
}

/// `DELETE /v1/posts/{id}/like`.
///
/// # Errors
/// `post-not-found`, and those of the store.
pub async fn unlike(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let act = &act(api, caller.user()?, parse_id(id)?);
    let unlike = |tx| async move { likes::unlike(&tx, act).await };
    if !api.pipeline().metadata().transact("unlike post", unlike).await? {
        return Err(not_found(id));
    }
    Ok(response::empty(StatusCode::NO_CONTENT))
}

/// `GET /v1/posts/{id}/likes`.
///
/// # Errors
/// `post-not-found`, `invalid-parameter`, and those of the store.
pub async fn list(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    let query = Query::parse(query, &["limit", "cursor"])?;
    let (limit, after) = (pages::limit(&query)?, pages::cursor::<UserId>(&query)?);
    let (viewer, post) = (caller.viewer, parse_id(id)?);
    let page = |tx| async move { page(&tx, viewer, post, (after, limit)).await };
    let page = api.pipeline().metadata().read("list likes", page).await?;
    Ok(response::json(StatusCode::OK, &page.ok_or_else(|| not_found(id))?))
}

async fn page(
    tx: &Transaction,
    viewer: Viewer,
    post: PostId,
    (after, limit): (Option<UserId>, usize),
) -> Result<Option<Page<LikeView>>, StoreError> {
    if posts::seen(tx, viewer, post).await?.is_none() {
        return Ok(None);
    }
    // One more than asked for tells whether there is a next page.
    let found = likes::list(tx, post, after, limit + 1).await?;
    let Page { items, next } = Page::of(found, limit, |(user, _)| user.to_string());
    let people = People::find(tx, viewer, items.iter().map(|(user, _)| *user)).await?;
    let seen = items.iter().filter_map(|(user, like)| Some(LikeView::new(people.seen(*user)?.clone(), like)));
    Ok(Some(Page { items: seen.collect(), next }))
}
