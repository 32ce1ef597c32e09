//! Whom a change concerns, and whether they may see it.

use std::collections::HashSet;

use darkroom_store::StoreError;
use darkroom_store::metadata::{Metadata, Transaction};
use darkroom_store::model::changes::{Change, What};
use darkroom_store::model::visibility::{self, Relation, Viewer};
use darkroom_store::model::{OwnerId, UserId, conversations, posts};
use futures_util::future::try_join_all;

/// Those of `connected` who are told of the change.
///
/// # Errors
/// Those of the engine.
pub(super) async fn of(
    metadata: &Metadata,
    change: &Change,
    connected: &HashSet<UserId>,
) -> Result<Vec<UserId>, StoreError> {
    let candidates = candidates(&change.what, connected);
    if candidates.is_empty() {
        return Ok(candidates);
    }
    let what = &change.what;
    let candidates = &candidates;
    let look = |tx| async move {
        let tx = &tx;
        let look = |user: &UserId| {
            let user = *user;
            async move { Ok::<_, StoreError>(is_for(tx, what, user).await?.then_some(user)) }
        };
        try_join_all(candidates.iter().map(look)).await
    };
    let found = metadata.read("find audience", look).await?;
    Ok(found.into_iter().flatten().collect())
}

/// Whether one user is told of the change.
///
/// # Errors
/// Those of the engine.
pub(super) async fn concerns(metadata: &Metadata, change: &Change, user: UserId) -> Result<bool, StoreError> {
    let connected = HashSet::from([user]);
    Ok(!of(metadata, change, &connected).await?.is_empty())
}

/// Those whom it may concern, by the change alone.
fn candidates(what: &What, connected: &HashSet<UserId>) -> Vec<UserId> {
    let owner = |owner: &Option<OwnerId>| owner.as_ref().and_then(OwnerId::user);
    let users: Vec<UserId> = match what {
        // Of those who follow its author nobody has a list that is short: each who is connected is asked about.
        What::PostPublished { .. } => return connected.iter().copied().collect(),
        What::PhotoReady { owner: of, .. }
        | What::PhotoFailed { owner: of, .. }
        | What::PhotoDeleted { owner: of, .. } => owner(of).into_iter().collect(),
        What::PhotoChanged { owner, .. } => owner.user().into_iter().collect(),
        What::PostChanged { author, .. } | What::PostDeleted { author, .. } => vec![*author],
        What::PostLiked { author, by, .. } | What::PostShared { author, by, .. } => others(&[*author], *by),
        What::PostCommented { author, by, in_reply_to, .. } => {
            let mut users = vec![*author];
            users.extend(in_reply_to.filter(|user| user != author));
            others(&users, *by)
        }
        What::UserFollowed { user, .. } | What::UserChanged { user } => vec![*user],
        What::MessageSent { from, to, .. } => [&[*from], &to[..]].concat(),
        // Nobody is told that somebody turned away from them.
        What::PostUnliked { .. }
        | What::CommentDeleted { .. }
        | What::UserUnfollowed { .. }
        | What::UserBlocked { .. }
        | What::UserUnblocked { .. }
        | What::UserDeleted { .. } => Vec::new(),
    };
    users.into_iter().filter(|user| connected.contains(user)).collect()
}

/// Nobody is told of what they did themselves.
fn others(users: &[UserId], by: UserId) -> Vec<UserId> {
    users.iter().copied().filter(|user| *user != by).collect()
}

/// Whether somebody whom it may concern may see it, as things are now.
async fn is_for(tx: &Transaction, what: &What, user: UserId) -> Result<bool, StoreError> {
    match what {
        What::PostPublished { post, author } => {
            let relation = visibility::relation(tx, Viewer::User(user), *author).await?;
            let follows = matches!(relation, Relation::Owner | Relation::Follower);
            Ok(follows && posts::get(tx, *post).await?.is_some_and(|post| post.admits(relation)))
        }
        What::PostLiked { post, by, .. }
        | What::PostCommented { post, by, .. }
        | What::PostShared { post, by, .. } => {
            Ok(!visibility::is_blocked(tx, user, *by).await? && may_see(tx, *post, user).await?)
        }
        What::UserFollowed { by, .. } => Ok(!visibility::is_blocked(tx, user, *by).await?),
        What::MessageSent { conversation, .. } => {
            Ok(conversations::seen_by(tx, user, *conversation).await?.is_some())
        }
        _ => Ok(true),
    }
}

/// A reply is told to somebody who may no longer see the post.
async fn may_see(
    tx: &Transaction,
    post: darkroom_store::model::PostId,
    user: UserId,
) -> Result<bool, StoreError> {
    match posts::get(tx, post).await? {
        Some(post) => visibility::may_see_post(tx, Viewer::User(user), &post).await,
        None => Ok(false),
    }
}
