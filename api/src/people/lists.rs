//! Lists of a user's: who follows them, whom they follow and have blocked, what they show.
//!
//! What the viewer may not see is left out, so that a page may be short, and empty even: only `next: null` ends a list. A page
//! reads as many rows as it may have items, and no more.

use darkroom_store::StoreError;
use darkroom_store::metadata::Transaction;
use darkroom_store::model::visibility::{Viewer, admits_photo};
use darkroom_store::model::{OwnerId, PhotoId, Position, UserId, follows, posts, users};
use futures_util::future::try_join_all;
use hyper::StatusCode;
use serde::Serialize;

use super::view::{SmallUser, seen, small};
use super::{named, not_found, oneself, visible};
use crate::Api;
use crate::caller::Caller;
use crate::pages::{self, Page};
use crate::photos as photo_records;
use crate::problem::Problem;
use crate::request::Query;
use crate::response::{self, Answer};

/// Which page of whose list, for whom.
struct Asked<C> {
    user: UserId,
    viewer: Viewer,
    after: Option<C>,
    limit: usize,
}

impl<C: std::str::FromStr> Asked<C> {
    fn of(caller: &Caller, query: Option<&str>, id: &str) -> Result<Self, Problem> {
        let query = Query::parse(query, &["limit", "cursor"])?;
        let user = named(caller, id)?;
        Ok(Self { user, viewer: caller.viewer, after: pages::cursor(&query)?, limit: pages::limit(&query)? })
    }
}

/// The answer with a page, if there is such a user for the viewer.
fn answer<T: Serialize>(id: &str, page: Option<Page<T>>) -> Result<Answer, Problem> {
    Ok(response::json(StatusCode::OK, &page.ok_or_else(|| not_found(id))?))
}

/// Leaves out what is not to be seen.
fn shown<T>(page: Page<Option<T>>) -> Page<T> {
    Page { items: page.items.into_iter().flatten().collect(), next: page.next }
}

/// `GET /v1/users/{id}/followers`, in the order of their ids.
///
/// # Errors
/// `user-not-found`, `invalid-parameter`, and those of the store.
pub async fn followers(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    let asked = &Asked::of(caller, query, id)?;
    let look = |tx| async move {
        if visible(&tx, asked.viewer, asked.user).await?.is_none() {
            return Ok(None);
        }
        let found = follows::followers(&tx, asked.user, asked.after, asked.limit + 1).await?;
        users_of(api, &tx, asked, found).await.map(Some)
    };
    answer(id, api.pipeline().metadata().read("list followers", look).await?)
}

/// `GET /v1/users/{id}/following`, in the order of their ids.
///
/// # Errors
/// `user-not-found`, `invalid-parameter`, and those of the store.
pub async fn following(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    let asked = &Asked::of(caller, query, id)?;
    let look = |tx| async move {
        if visible(&tx, asked.viewer, asked.user).await?.is_none() {
            return Ok(None);
        }
        let found = follows::following(&tx, asked.user, asked.after, asked.limit + 1).await?;
        users_of(api, &tx, asked, found).await.map(Some)
    };
    answer(id, api.pipeline().metadata().read("list followed", look).await?)
}

async fn users_of(
    api: &Api,
    tx: &Transaction,
    asked: &Asked<UserId>,
    found: Vec<UserId>,
) -> Result<Page<SmallUser>, StoreError> {
    let Page { items, next } = Page::of(found, asked.limit, |user| user.0.as_simple().to_string());
    let presets = api.pipeline().presets();
    // All at once: on a cluster each read is a way there and back.
    let items = try_join_all(items.into_iter().map(|user| seen(tx, asked.viewer, user, presets))).await?;
    Ok(shown(Page { items, next }))
}

/// `GET /v1/users/{id}/blocks`: whom one has blocked, to oneself alone.
///
/// # Errors
/// `unauthenticated`, `forbidden`, `user-not-found`, `invalid-parameter`, and those of the store.
pub async fn blocks(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    let asked: &Asked<UserId> = &Asked::of(caller, query, id)?;
    oneself(api, caller, id).await?;
    let presets = api.pipeline().presets();
    let look = |tx: Transaction| async move {
        let found = follows::blocked(&tx, asked.user, asked.after, asked.limit + 1).await?;
        let Page { items, next } = Page::of(found, asked.limit, |user| user.0.as_simple().to_string());
        let tx = &tx;
        let read = items.into_iter().map(|user| async move {
            match users::get(tx, user).await? {
                Some(user) => small(tx, asked.viewer, &user, presets).await.map(Some),
                None => Ok(None),
            }
        });
        let items = try_join_all(read).await?;
        Ok::<_, StoreError>(Some(shown(Page { items, next })))
    };
    answer(id, api.pipeline().metadata().read("list blocked", look).await?)
}

/// `GET /v1/users/{id}/posts`, the last published first.
///
/// # Errors
/// `user-not-found`, `invalid-parameter`, and those of the store.
pub async fn posts(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    let asked: &Asked<Position> = &Asked::of(caller, query, id)?;
    let look = |tx: Transaction| async move {
        let Some((_, relation)) = visible(&tx, asked.viewer, asked.user).await? else { return Ok(None) };
        let found = posts::of_author(&tx, asked.user, asked.after, asked.limit + 1).await?;
        let Page { items, next } = Page::of(found, asked.limit, |(position, _)| position.to_string());
        let tx = &tx;
        let read = items.into_iter().map(|(_, id)| async move {
            let post = posts::get(tx, id).await?;
            Ok::<_, StoreError>(post.filter(|post| post.admits(relation)).map(|post| post.id))
        });
        let items = try_join_all(read).await?;
        Ok(Some(shown(Page { items, next })))
    };
    let page = api.pipeline().metadata().read("list posts of a user", look).await?;
    let page = page.ok_or_else(|| not_found(id))?;
    let views = crate::posts::views(api, caller.viewer, &page.items).await?;
    let items: Vec<_> = views.into_iter().flatten().collect();
    Ok(response::json(StatusCode::OK, &Page { items, next: page.next }))
}

/// `GET /v1/users/{id}/photos`, the newest first.
///
/// # Errors
/// `user-not-found`, `invalid-parameter`, and those of the store.
pub async fn photos(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    use darkroom_store::model::photos;
    let asked: &Asked<PhotoId> = &Asked::of(caller, query, id)?;
    let (owner, presets) = (&OwnerId::of(asked.user), api.pipeline().presets());
    let look = |tx: Transaction| async move {
        let Some((_, relation)) = visible(&tx, asked.viewer, asked.user).await? else { return Ok(None) };
        let found = photos::list(&tx, owner, asked.after, asked.limit + 1).await?;
        let Page { items, next } = Page::of(found, asked.limit, |photo| photo.id.0.as_simple().to_string());
        let tx = &tx;
        let read = items.into_iter().map(|photo| async move {
            if !admits_photo(tx, relation, &photo).await? {
                return Ok(None);
            }
            photo_records::view(tx, relation, photo, presets).await.map(Some)
        });
        let items = try_join_all(read).await?;
        Ok::<_, StoreError>(Some(shown(Page { items, next })))
    };
    answer(id, api.pipeline().metadata().read("list photos of a user", look).await?)
}
