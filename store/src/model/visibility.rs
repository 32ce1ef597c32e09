//! Who may see what. **The one place that decides it**: every path by which something is read asks here.
//!
//! What somebody may see of another's depends on how they stand to each other ([`Relation`]), on how visible its owner has
//! made it, and for a photo that says nothing of itself on the posts that show it. Relations are read in the transaction of
//! the question, so that a block or an end of following holds at once.

use serde::{Deserialize, Serialize};

use super::UserId;
use super::photos::{Photo, State};
use super::posts::{self, Post};
use super::subspaces::{BLOCKS, FOLLOWING};
use crate::StoreError;
use crate::metadata::Transaction;

/// Who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Viewer {
    /// Nobody that is known.
    SignedOut,
    /// A user.
    User(UserId),
}

impl Viewer {
    /// The user, if it is one.
    pub fn user(self) -> Option<UserId> {
        match self {
            Self::SignedOut => None,
            Self::User(user) => Some(user),
        }
    }
}

/// How visible a post is. From the narrowest to the widest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// To its author alone.
    Private,
    /// To those who follow its author.
    Followers,
    /// To everybody, signed in or not.
    Public,
}

impl Visibility {
    /// All, from the narrowest to the widest.
    pub const ALL: [Self; 3] = [Self::Private, Self::Followers, Self::Public];

    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Followers => "followers",
            Self::Public => "public",
        }
    }

    /// Whether it lets such a viewer see.
    pub fn admits(self, relation: Relation) -> bool {
        match relation {
            Relation::Owner => true,
            Relation::Blocked => false,
            Relation::Follower => self >= Self::Followers,
            Relation::Stranger | Relation::SignedOut => self == Self::Public,
        }
    }
}

/// How visible a photo is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhotoVisibility {
    /// To its owner, and to whoever may see a post that shows it.
    #[default]
    Inherit,
    /// As [`Visibility::Private`], whatever its posts are.
    Private,
    /// As [`Visibility::Followers`], whatever its posts are.
    Followers,
    /// As [`Visibility::Public`], whatever its posts are.
    Public,
}

impl PhotoVisibility {
    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        self.own().map_or("inherit", Visibility::as_str)
    }

    /// Its own, where it has one.
    pub fn own(self) -> Option<Visibility> {
        match self {
            Self::Inherit => None,
            Self::Private => Some(Visibility::Private),
            Self::Followers => Some(Visibility::Followers),
            Self::Public => Some(Visibility::Public),
        }
    }

    /// Whether a photo of this visibility may be shown in a post of that one: no post is wider than what it shows.
    pub fn may_be_in(self, post: Visibility) -> bool {
        self.own().is_none_or(|own| post <= own)
    }

    /// Whether a viewer may see the photo, who may see one of its posts or none of them.
    pub fn admits(self, relation: Relation, in_a_visible_post: bool) -> bool {
        match (self.own(), relation) {
            (_, Relation::Owner) => true,
            (_, Relation::Blocked) => false,
            (Some(own), relation) => own.admits(relation),
            (None, _) => in_a_visible_post,
        }
    }
}

/// How a viewer stands to an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// It is theirs.
    Owner,
    /// They follow the owner.
    Follower,
    /// They do not.
    Stranger,
    /// One of the two has blocked the other.
    Blocked,
    /// Nobody knows who looks.
    SignedOut,
}

impl Relation {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Owner, Self::Follower, Self::Stranger, Self::Blocked, Self::SignedOut];
}

/// How `viewer` stands to `owner`, as of this transaction, which conflicts with whoever changes it.
///
/// # Errors
/// Those of the engine.
pub async fn relation(tx: &Transaction, viewer: Viewer, owner: UserId) -> Result<Relation, StoreError> {
    let Some(viewer) = viewer.user() else { return Ok(Relation::SignedOut) };
    if viewer == owner {
        return Ok(Relation::Owner);
    }
    if is_blocked(tx, viewer, owner).await? {
        return Ok(Relation::Blocked);
    }
    let follows = tx.get(&FOLLOWING.key(&(viewer.0, owner.0))).await?.is_some();
    Ok(if follows { Relation::Follower } else { Relation::Stranger })
}

/// Whether a viewer may see a photo, as of this transaction.
///
/// # Errors
/// Those of the engine.
pub async fn may_see_photo(tx: &Transaction, viewer: Viewer, photo: &Photo) -> Result<bool, StoreError> {
    Ok(sees_photo_as(tx, viewer, photo).await?.is_some())
}

/// How a viewer stands to the owner of a photo that they may see, as of this transaction; `None` if they may not.
///
/// # Errors
/// Those of the engine.
pub async fn sees_photo_as(
    tx: &Transaction,
    viewer: Viewer,
    photo: &Photo,
) -> Result<Option<Relation>, StoreError> {
    // An owner that no user can be is nobody's to see.
    let Some(owner) = photo.owner.user() else { return Ok(None) };
    let relation = relation(tx, viewer, owner).await?;
    Ok(admits_photo(tx, relation, photo).await?.then_some(relation))
}

/// Whether somebody may see a photo who stands so to its owner, as of this transaction.
///
/// # Errors
/// Those of the engine.
pub async fn admits_photo(tx: &Transaction, relation: Relation, photo: &Photo) -> Result<bool, StoreError> {
    // What is not there yet, or never will be, is its owner's alone to know of.
    if photo.state != State::Ready && relation != Relation::Owner {
        return Ok(false);
    }
    if photo.visibility.own().is_some() || matches!(relation, Relation::Owner | Relation::Blocked) {
        return Ok(photo.visibility.admits(relation, false));
    }
    let shown = posts::showing(tx, photo.id).await?;
    let in_a_visible_post = shown.iter().any(|shown| shown.visibility.admits(relation));
    Ok(photo.visibility.admits(relation, in_a_visible_post))
}

/// Whether a viewer may see a post, as of this transaction.
///
/// # Errors
/// Those of the engine.
pub async fn may_see_post(tx: &Transaction, viewer: Viewer, post: &Post) -> Result<bool, StoreError> {
    Ok(post.admits(relation(tx, viewer, post.author).await?))
}

/// Whether one of the two has blocked the other.
///
/// # Errors
/// Those of the engine.
pub async fn is_blocked(tx: &Transaction, one: UserId, other: UserId) -> Result<bool, StoreError> {
    let blocks = BLOCKS.key(&(one.0, other.0));
    let is_blocked = BLOCKS.key(&(other.0, one.0));
    Ok(tx.get(&blocks).await?.is_some() || tx.get(&is_blocked).await?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_visibility_admits_whom_it_names() {
        let admitted = |visibility: Visibility| Relation::ALL.map(|relation| visibility.admits(relation));
        //                                     owner, follower, stranger, blocked, signed out
        assert_eq!(admitted(Visibility::Private), [true, false, false, false, false]);
        assert_eq!(admitted(Visibility::Followers), [true, true, false, false, false]);
        assert_eq!(admitted(Visibility::Public), [true, true, true, false, true]);
    }

    #[test]
    fn a_photos_own_visibility_holds_whatever_its_posts() {
        for in_a_visible_post in [false, true] {
            let admitted = |photo: PhotoVisibility| {
                Relation::ALL.map(|relation| photo.admits(relation, in_a_visible_post))
            };
            let shown = in_a_visible_post;
            assert_eq!(admitted(PhotoVisibility::Inherit), [true, shown, shown, false, shown]);
            assert_eq!(admitted(PhotoVisibility::Private), [true, false, false, false, false]);
            assert_eq!(admitted(PhotoVisibility::Followers), [true, true, false, false, false]);
            assert_eq!(admitted(PhotoVisibility::Public), [true, true, true, false, true]);
        }
    }

    #[test]
    fn no_post_is_wider_than_its_photos() {
        let may = |photo: PhotoVisibility| Visibility::ALL.map(|post| photo.may_be_in(post));
        assert_eq!(may(PhotoVisibility::Inherit), [true, true, true]);
        assert_eq!(may(PhotoVisibility::Private), [true, false, false]);
        assert_eq!(may(PhotoVisibility::Followers), [true, true, false]);
        assert_eq!(may(PhotoVisibility::Public), [true, true, true]);
    }
}
