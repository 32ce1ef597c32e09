//! Who follows and blocks whom. Each is a state and not an event: asked for twice, it is so once.

use darkroom_store::model::follows::{self, Act, Followed};
use darkroom_store::model::{Timestamp, UserId, users};
use hyper::StatusCode;

use super::{named, not_found, visible};
use crate::Api;
use crate::caller::Caller;
use crate::problem::Problem;
use crate::request::Query;
use crate::response::{self, Answer};

/// What the caller does to the user of a path.
fn act(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Act, Problem> {
    Query::parse(query, &[])?;
    let (by, to): (UserId, UserId) = (caller.user()?, named(caller, id)?);
    if by == to {
        return Err(Problem::new("not-oneself", "nobody follows or blocks themselves: name somebody else"));
    }
    Ok(Act { by, to, now: Timestamp::now(), history: api.pipeline().history() })
}

fn done() -> Answer {
    response::empty(StatusCode::NO_CONTENT)
}

/// `PUT /v1/users/{id}/follow`.
///
/// # Errors
/// `unauthenticated`, `not-oneself`, `user-not-found`, `following-too-many`, and those of the store.
pub async fn follow(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    let (act, most) = (&act(api, caller, query, id)?, api.options().people.following_max);
    let follow = |tx| async move { follows::follow(&tx, act, most).await };
    match api.pipeline().metadata().transact("follow", follow).await? {
        Followed::New | Followed::Before => Ok(done()),
        Followed::Nobody => Err(not_found(id)),
        Followed::TooMany => {
            let detail = format!("you follow {most} users, as many as one may: end following somebody first");
            Err(Problem::new("following-too-many", detail))
        }
    }
}

/// `DELETE /v1/users/{id}/follow`.
///
/// # Errors
/// `unauthenticated`, `not-oneself`, `user-not-found`, and those of the store.
pub async fn unfollow(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    let (act, viewer) = (&act(api, caller, query, id)?, caller.viewer);
    let unfollow = |tx| async move {
        if visible(&tx, viewer, act.to).await?.is_none() {
            return Ok(false);
        }
        follows::unfollow(&tx, act).await.map(|_| true)
    };
    let found = api.pipeline().metadata().transact("unfollow", unfollow).await?;
    if found { Ok(done()) } else { Err(not_found(id)) }
}

/// `PUT /v1/users/{id}/block`. Also of somebody who has blocked the caller: they are told nothing by it, and it holds when the
/// other's ends.
///
/// # Errors
/// `unauthenticated`, `not-oneself`, `user-not-found`, and those of the store.
pub async fn block(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    let act = &act(api, caller, query, id)?;
    let block = |tx| async move { follows::block(&tx, act).await };
    let found = api.pipeline().metadata().transact("block", block).await?;
    if found { Ok(done()) } else { Err(not_found(id)) }
}

/// `DELETE /v1/users/{id}/block`.
///
/// # Errors
/// `unauthenticated`, `not-oneself`, `user-not-found`, and those of the store.
pub async fn unblock(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    let act = &act(api, caller, query, id)?;
    let unblock = |tx| async move {
        let ended = follows::unblock(&tx, act).await?;
        Ok(ended || users::get(&tx, act.to).await?.is_some())
    };
    let found = api.pipeline().metadata().transact("unblock", unblock).await?;
    if found { Ok(done()) } else { Err(not_found(id)) }
}
