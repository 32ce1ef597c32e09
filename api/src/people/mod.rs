//! `/v1/users`: people, what they say of themselves, whom they follow and block, and what they show. See docs/people.md.
//!
//! - [`profile`]: one user, found, shown and edited. [`relations`]: follow and block.
//! - [`lists`]: followers, followed, blocked, posts, photos.
//! - [`view`]: the JSON of a user.
//!
//! Whom the caller has blocked, or who has blocked the caller, is not found on any path but that of the caller's own blocks.

pub mod lists;
pub mod options;
pub mod profile;
pub mod relations;
pub mod view;

use darkroom_store::StoreError;
use darkroom_store::metadata::Transaction;
use darkroom_store::model::UserId;
use darkroom_store::model::users::{self, User};
use darkroom_store::model::visibility::{self, Relation, Viewer};
use hyper::Method;

use crate::Api;
use crate::auth::registration;
use crate::caller::Caller;
use crate::problem::Problem;
use crate::routes::{Asking, Routed, Routes, not_allowed};

/// What is answered here.
pub const ROUTES: Routes = &[
    ("GET", "/v1/users"),
    ("GET", "/v1/users/{id}"),
    ("PATCH", "/v1/users/{id}"),
    ("PUT", "/v1/users/{id}/follow"),
    ("DELETE", "/v1/users/{id}/follow"),
    ("PUT", "/v1/users/{id}/block"),
    ("DELETE", "/v1/users/{id}/block"),
    ("GET", "/v1/users/{id}/blocks"),
    ("GET", "/v1/users/{id}/followers"),
    ("GET", "/v1/users/{id}/following"),
    ("GET", "/v1/users/{id}/posts"),
    ("GET", "/v1/users/{id}/photos"),
];

/// What is below `/v1/users`.
pub(crate) async fn route(api: &Api, asking: Asking, rest: &[&str]) -> Routed {
    if rest.is_empty() && asking.request.method() == Method::POST {
        return ("/v1/users", registration::register(api, asking).await);
    }
    let Asking { request, caller, end, .. } = asking;
    let method = request.method().clone();
    let get = method == Method::GET || method == Method::HEAD;
    let query = request.uri().query().map(ToOwned::to_owned);
    let query = query.as_deref();
    let only_get = "GET, HEAD";
    match rest {
        [] => (
            "/v1/users",
            if get { profile::find(api, &caller, query).await } else { not_allowed("GET, HEAD, POST") },
        ),
        [id] => (
            "/v1/users/{id}",
            match method {
                Method::PATCH => profile::edit(api, &caller, query, id, request.into_body(), end).await,
                _ if get => profile::show(api, &caller, query, id).await,
                _ => not_allowed("GET, HEAD, PATCH"),
            },
        ),
        [id, "follow"] => (
            "/v1/users/{id}/follow",
            match method {
                Method::PUT => relations::follow(api, &caller, query, id).await,
                Method::DELETE => relations::unfollow(api, &caller, query, id).await,
                _ => not_allowed("PUT, DELETE"),
            },
        ),
        [id, "block"] => (
            "/v1/users/{id}/block",
            match method {
                Method::PUT => relations::block(api, &caller, query, id).await,
                Method::DELETE => relations::unblock(api, &caller, query, id).await,
                _ => not_allowed("PUT, DELETE"),
            },
        ),
        [id, "blocks"] => (
            "/v1/users/{id}/blocks",
            if get { lists::blocks(api, &caller, query, id).await } else { not_allowed(only_get) },
        ),
        [id, "followers"] => (
            "/v1/users/{id}/followers",
            if get { lists::followers(api, &caller, query, id).await } else { not_allowed(only_get) },
        ),
        [id, "following"] => (
            "/v1/users/{id}/following",
            if get { lists::following(api, &caller, query, id).await } else { not_allowed(only_get) },
        ),
        [id, "posts"] => (
            "/v1/users/{id}/posts",
            if get { lists::posts(api, &caller, query, id).await } else { not_allowed(only_get) },
        ),
        [id, "photos"] => (
            "/v1/users/{id}/photos",
            if get { lists::photos(api, &caller, query, id).await } else { not_allowed(only_get) },
        ),
        _ => (
            "unknown",
            Err(Problem::new("not-found", "there is nothing here: see /openapi.json for what there is")),
        ),
    }
}

/// The user that a path names: by id, or the caller as `me`.
///
/// # Errors
/// `user-not-found`: what is no id is nobody's. `unauthenticated`, where `me` is nobody.
pub(crate) fn named(caller: &Caller, text: &str) -> Result<UserId, Problem> {
    if text == "me" { caller.user() } else { text.parse().map_err(|_| not_found(text)) }
}

/// The caller, if a path names them, for what is nobody else's to do. That a user is there is no secret, and so whoever may
/// see them is told that it is not theirs.
///
/// # Errors
/// `unauthenticated`, `user-not-found`, `forbidden`, and those of the store.
pub(crate) async fn oneself(api: &Api, caller: &Caller, text: &str) -> Result<UserId, Problem> {
    let (me, id) = (caller.user()?, named(caller, text)?);
    if id == me {
        return Ok(me);
    }
    let look = |tx| async move { visible(&tx, caller.viewer, id).await };
    api.pipeline().metadata().read("look for a user", look).await?.ok_or_else(|| not_found(text))?;
    let detail = format!("the user {id} is not you: nobody else may do this; your own path is /v1/users/me");
    Err(Problem::new("forbidden", detail))
}

/// There is no such user for the caller.
pub(crate) fn not_found(text: &str) -> Problem {
    Problem::new("user-not-found", format!("there is no user {text:?}: it was deleted, or the id is wrong"))
}

/// The user and how the viewer stands to them; `None` if there is none, or one of the two has blocked the other.
///
/// # Errors
/// Those of the engine.
pub(crate) async fn visible(
    tx: &Transaction,
    viewer: Viewer,
    id: UserId,
) -> Result<Option<(User, Relation)>, StoreError> {
    let Some(user) = users::get(tx, id).await? else { return Ok(None) };
    let relation = visibility::relation(tx, viewer, id).await?;
    Ok((relation != Relation::Blocked).then_some((user, relation)))
}
