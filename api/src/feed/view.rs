//! How posts are shown in lists.

use darkroom_store::StoreError;
use darkroom_store::metadata::Transaction;
use darkroom_store::model::visibility::{self, Viewer};
use darkroom_store::model::{PostId, posts};
use serde::Serialize;

use crate::Api;

/// A post, as far as a list needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedPost {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub author_id: String,
}

/// The posts as the viewer sees them, in this order; none where the viewer sees none. The one place that says how a post
/// is shown in these lists.
///
/// # Errors
/// Those of the store.
pub async fn post_views(
    api: &Api,
    viewer: Viewer,
    ids: &[PostId],
) -> Result<Vec<Option<ListedPost>>, StoreError> {
    let look = |tx: Transaction| async move {
        let mut views = Vec::with_capacity(ids.len());
        for id in ids {
            let post = posts::get(&tx, *id).await?;
            let view = match post {
                Some(post) if visibility::may_see_post(&tx, viewer, &post).await? => Some(post),
                _ => None,
            };
            views.push(
                view.map(|post| ListedPost { id: post.id.to_string(), author_id: post.author.to_string() }),
            );
        }
        Ok(views)
    };
    api.pipeline().metadata().read("view posts", look).await
}
