//! The JSON of a user.

use darkroom_actors::Preset;
use darkroom_store::StoreError;
use darkroom_store::metadata::Transaction;
use darkroom_store::model::users::{User, counts};
use darkroom_store::model::visibility::{self, Relation, Viewer};
use darkroom_store::model::{UserId, follows, photos};
use serde::Serialize;

use super::visible;
use crate::view::{PhotoView, VariantView, rfc3339};

/// A user where many are shown, and beside what is theirs.
#[derive(Clone, Debug, Serialize)]
pub struct SmallUser {
    /// Their id.
    pub id: String,
    /// What they call themselves.
    pub name: String,
    /// What they are mentioned by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// The photo that stands for them, if the viewer may see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar: Option<Avatar>,
}

/// A photo that stands for a user.
#[derive(Clone, Debug, Serialize)]
pub struct Avatar {
    /// Its id.
    pub id: String,
    /// One for each preset.
    pub variants: Vec<VariantView>,
}

/// A user as others see them; oneself sees more.
#[derive(Clone, Debug, Serialize)]
pub struct UserView {
    /// What is shown everywhere.
    #[serde(flatten)]
    pub small: SmallUser,
    /// What they say of themselves.
    pub bio: String,
    /// Where they are reached. Their own alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// When they came, RFC 3339.
    pub created_at: String,
    /// How many follow them.
    pub followers_count: u64,
    /// How many they follow.
    pub following_count: u64,
    /// How many of their posts others may see.
    pub posts_count: u64,
    /// How they and the caller stand to each other, where somebody else is signed in.
    #[serde(flatten)]
    pub between: Option<Between>,
}

/// How a user and the caller stand to each other.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Between {
    /// The caller follows them.
    pub you_follow: bool,
    /// They follow the caller.
    pub follows_you: bool,
    /// The caller has blocked them. Never so where they are shown by id: who is blocked is not found.
    pub you_block: bool,
}

/// The user as the viewer sees them where many are shown; `None` if they do not.
///
/// # Errors
/// Those of the engine.
pub async fn seen(
    tx: &Transaction,
    viewer: Viewer,
    id: UserId,
    presets: &[Preset],
) -> Result<Option<SmallUser>, StoreError> {
    let Some((user, _)) = visible(tx, viewer, id).await? else { return Ok(None) };
    small(tx, viewer, &user, presets).await.map(Some)
}

/// A user of whom it is known that they may be shown.
pub(super) async fn small(
    tx: &Transaction,
    viewer: Viewer,
    user: &User,
    presets: &[Preset],
) -> Result<SmallUser, StoreError> {
    let mut avatar = None;
    if let Some(id) = user.avatar
        && let Some(photo) = photos::get(tx, id).await?
        && visibility::may_see_photo(tx, viewer, &photo).await?
    {
        let PhotoView { id, variants, .. } = PhotoView::new(&photo, presets);
        avatar = Some(Avatar { id, variants });
    }
    Ok(SmallUser { id: user.id.to_string(), name: user.name.clone(), handle: user.handle.clone(), avatar })
}

/// All that the viewer may know of a user to whom they stand so.
pub(super) async fn whole(
    tx: &Transaction,
    viewer: Viewer,
    (user, relation): &(User, Relation),
    presets: &[Preset],
) -> Result<UserView, StoreError> {
    let counts = counts::of(tx, user.id).await?;
    let is_self = *relation == Relation::Owner;
    let between = match viewer {
        Viewer::User(me) if !is_self => Some(Between {
            you_follow: *relation == Relation::Follower,
            follows_you: follows::is_following(tx, user.id, me).await?,
            you_block: follows::has_blocked(tx, me, user.id).await?,
        }),
        _ => None,
    };
    Ok(UserView {
        small: small(tx, viewer, user, presets).await?,
        bio: user.bio.clone(),
        email: user.email.clone().filter(|_| is_self),
        created_at: rfc3339(user.created),
        followers_count: counts.followers,
        following_count: counts.following,
        posts_count: counts.posts,
        between,
    })
}
