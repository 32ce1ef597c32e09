//! Many posts at once, as somebody sees them. **Every answer that shows posts is made with it**: it asks who may see what.
//!
//! All of it is one read transaction, in four rounds, each of which reads everything at the same time: the posts, those that
//! they share, the people, and then photos and counts of what may be seen.

use std::collections::{BTreeSet, HashMap};

use darkroom_actors::Preset;
use darkroom_store::StoreError;
use darkroom_store::metadata::Transaction;
use darkroom_store::model::likes::{self, Kind};
use darkroom_store::model::photos::{self, Photo};
use darkroom_store::model::posts::counts::{self, Counts};
use darkroom_store::model::posts::{self, Post};
use darkroom_store::model::visibility::{Relation, Viewer};
use darkroom_store::model::{PostId, UserId};
use futures_util::future::{try_join_all, try_join3};

use super::people::People;
use super::view::{Parts, PostView, SharedView};
use crate::Api;
use crate::view::PhotoView;

/// The posts of these ids as `viewer` sees them, in the same order; `None` for each that is gone or not for them.
///
/// # Errors
/// Those of the store.
pub async fn views(api: &Api, viewer: Viewer, ids: &[PostId]) -> Result<Vec<Option<PostView>>, StoreError> {
    let presets = api.pipeline().presets();
    let load = |tx| async move { load(&tx, (viewer, presets), ids).await };
    api.pipeline().metadata().read("view posts", load).await
}

/// As [`views`], in a transaction of the caller's, for a daemon of these presets.
///
/// # Errors
/// Those of the store.
pub async fn load(
    tx: &Transaction,
    (viewer, presets): (Viewer, &[Preset]),
    ids: &[PostId],
) -> Result<Vec<Option<PostView>>, StoreError> {
    let mut posts = found(tx, ids.iter().copied()).await?;
    let shared: Vec<PostId> = posts.values().filter_map(|post| post.shared).collect();
    posts.extend(found(tx, shared).await?);
    let named = posts.values().flat_map(|post| post.mentions.iter().copied().chain([post.author]));
    let named: Vec<UserId> = named.collect();
    let people = People::find(tx, viewer, named).await?;
    let seen = posts.values().filter_map(|post| {
        let relation = people.relation(post.author).filter(|relation| post.admits(*relation))?;
        Some(Seen::load(tx, viewer, post, relation))
    });
    let seen: HashMap<PostId, Seen> =
        try_join_all(seen).await?.into_iter().map(|seen| (seen.post.id, seen)).collect();
    let sight = Sight { seen: &seen, people: &people, presets };
    Ok(ids.iter().map(|id| sight.view(*id, true)).collect())
}

/// The posts that are there, by id.
async fn found(
    tx: &Transaction,
    ids: impl IntoIterator<Item = PostId>,
) -> Result<HashMap<PostId, Post>, StoreError> {
    let distinct: BTreeSet<PostId> = ids.into_iter().collect();
    let posts = try_join_all(distinct.into_iter().map(|id| posts::get(tx, id))).await?;
    Ok(posts.into_iter().flatten().map(|post| (post.id, post)).collect())
}

/// A post that may be seen, and what belongs to it.
struct Seen<'p> {
    post: &'p Post,
    relation: Relation,
    photos: Vec<Photo>,
    counts: Counts,
    liked: Option<Kind>,
}

impl<'p> Seen<'p> {
    async fn load(
        tx: &Transaction,
        viewer: Viewer,
        post: &'p Post,
        relation: Relation,
    ) -> Result<Self, StoreError> {
        let photos = try_join_all(post.photos.iter().map(|photo| photos::get(tx, *photo)));
        let liked = async {
            let Some(user) = viewer.user() else { return Ok(None) };
            likes::of(tx, post.id, user).await
        };
        let (photos, counts, liked) = try_join3(photos, counts::of(tx, post.id), liked).await?;
        let may_see = |photo: &Photo| photo.visibility.admits(relation, true);
        let photos = photos.into_iter().flatten().filter(may_see).collect();
        Ok(Self { post, relation, photos, counts, liked: liked.map(|like| like.kind) })
    }
}

/// Everything that was found.
struct Sight<'s> {
    seen: &'s HashMap<PostId, Seen<'s>>,
    people: &'s People,
    presets: &'s [Preset],
}

impl Sight<'_> {
    fn view(&self, id: PostId, with_shared: bool) -> Option<PostView> {
        let seen = self.seen.get(&id)?;
        let post = seen.post;
        let author = self.people.seen(post.author)?.clone();
        let photos = seen.photos.iter();
        // What is shared shares nothing itself.
        let shared = post.shared.filter(|_| with_shared);
        let parts = Parts {
            author,
            mentions: post.mentions.iter().filter_map(|user| self.people.seen(*user)).cloned().collect(),
            photos: photos.map(|photo| PhotoView::seen_by(seen.relation, photo, self.presets)).collect(),
            shared: shared.map(|shared| {
                self.view(shared, false).map_or(SharedView::Unseen, |view| SharedView::Seen(Box::new(view)))
            }),
            counts: seen.counts,
            liked: seen.liked,
        };
        Some(PostView::new(post, parts))
    }
}
