//! The JSON of posts, likes and comments.

use darkroom_store::model::comments::Comment;
use darkroom_store::model::likes::{Kind, Like};
use darkroom_store::model::posts::counts::Counts;
use darkroom_store::model::posts::{Post, State};
use darkroom_store::model::visibility::Visibility;
use serde::Serialize;

use super::people::UserRef;
use crate::view::{PhotoView, rfc3339};

/// A post as somebody sees it.
#[derive(Clone, Debug, Serialize)]
pub struct PostView {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub author: UserRef,
    /// `waiting`, `published` or `failed`; anything but `published` is its author's alone to see.
    pub state: State,
    /// `private`, `followers` or `public`.
    pub visibility: Visibility,
    /// What its author says.
    pub caption: String,
    /// The tags in that, folded.
    pub tags: Vec<String>,
    /// Users mentioned in that.
    pub mentions: Vec<UserRef>,
    /// What it shows, in order, as far as the viewer may see it.
    pub photos: Vec<PhotoView>,
    /// Of a post that shares another, that one. Not there otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedView>,
    /// How many like it and share it, and how many comments it has.
    #[serde(flatten)]
    pub counts: CountsView,
    /// How the viewer likes it; `null` if they do not.
    pub liked: Option<Kind>,
    /// When it was written, RFC 3339.
    pub created_at: String,
    /// When it was published, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published_at: Option<String>,
    /// When its author last changed it, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<String>,
}

/// A post as it is seen in one that shares it.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum SharedView {
    /// As it is.
    Seen(Box<PostView>),
    /// It is gone, or not for the viewer: `null`.
    Unseen,
}

/// What a view is made of beside the post's record.
pub(super) struct Parts {
    pub(super) author: UserRef,
    pub(super) mentions: Vec<UserRef>,
    pub(super) photos: Vec<PhotoView>,
    pub(super) shared: Option<SharedView>,
    pub(super) counts: Counts,
    pub(super) liked: Option<Kind>,
}

impl PostView {
    pub(super) fn new(post: &Post, parts: Parts) -> Self {
        let Parts { author, mentions, photos, shared, counts, liked } = parts;
        Self {
            id: post.id.to_string(),
            author,
            state: post.state,
            visibility: post.visibility,
            caption: post.caption.clone(),
            tags: post.tags.clone(),
            mentions,
            photos,
            shared,
            counts: CountsView::new(&counts),
            liked,
            created_at: rfc3339(post.created),
            published_at: post.published.map(rfc3339),
            edited_at: post.edited.map(rfc3339),
        }
    }
}

/// A post's counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CountsView {
    /// Users who like it.
    pub likes_count: u64,
    /// In which way how many of them do.
    pub likes_by_kind: KindsView,
    /// Comments and replies.
    pub comments_count: u64,
    /// Posts that share it.
    pub shares_count: u64,
}

/// How many like a post in which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each is a kind")]
pub struct KindsView {
    pub like: u64,
    pub love: u64,
    pub laugh: u64,
    pub angry: u64,
}

impl CountsView {
    /// Of a post's counts.
    pub fn new(counts: &Counts) -> Self {
        Self {
            likes_count: counts.likes,
            likes_by_kind: KindsView {
                like: counts.of_kind(Kind::Like),
                love: counts.of_kind(Kind::Love),
                laugh: counts.of_kind(Kind::Laugh),
                angry: counts.of_kind(Kind::Angry),
            },
            comments_count: counts.comments,
            shares_count: counts.shares,
        }
    }
}

/// That the caller likes a post, and how many do now.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LikedView {
    /// How the caller does.
    pub liked: Kind,
    /// The post's counts.
    #[serde(flatten)]
    pub counts: CountsView,
}

/// That somebody likes a post.
#[derive(Clone, Debug, Serialize)]
pub struct LikeView {
    /// Who.
    pub user: UserRef,
    /// How.
    pub kind: Kind,
    /// Since when, RFC 3339.
    pub created_at: String,
}

impl LikeView {
    pub(super) fn new(user: UserRef, like: &Like) -> Self {
        Self { user, kind: like.kind, created_at: rfc3339(like.since) }
    }
}

/// A comment or a reply.
#[derive(Clone, Debug, Serialize)]
pub struct CommentView {
    /// Its id.
    pub id: String,
    /// What it is about.
    pub post_id: String,
    /// Who says it; `null` of one that is deleted and stands in for itself.
    pub author: Option<UserRef>,
    /// What; nothing of one that is deleted.
    pub text: String,
    /// Whether it is deleted, and there for its replies alone.
    pub deleted: bool,
    /// When it was written, RFC 3339.
    pub created_at: String,
    /// The comment that it replies to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// Of a comment that replies to none: its replies.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub thread: Option<ThreadView>,
}

/// The replies to a comment.
#[derive(Clone, Debug, Serialize)]
pub struct ThreadView {
    /// How many there are.
    pub replies_count: u64,
    /// The first few that the viewer may see.
    pub replies: Vec<CommentView>,
}

impl CommentView {
    pub(super) fn new(comment: &Comment, author: Option<UserRef>, thread: Option<ThreadView>) -> Self {
        Self {
            id: comment.id.to_string(),
            post_id: comment.post.to_string(),
            author,
            text: comment.text.clone(),
            deleted: comment.deleted.is_some(),
            created_at: rfc3339(comment.created),
            reply_to: comment.reply_to.map(|parent| parent.to_string()),
            thread,
        }
    }
}

#[cfg(test)]
mod tests {
    use darkroom_store::model::{CommentId, PostId, Timestamp, UserId};

    use super::*;

    fn author() -> UserRef {
        UserRef { id: UserId::OPEN.to_string(), name: "open".to_owned(), handle: None }
    }

    fn view(shared: Option<SharedView>) -> serde_json::Value {
        let post =
            Post::new((PostId::new(), UserId::OPEN), "#a".to_owned(), Visibility::Public, Timestamp(0));
        let counts = Counts { likes: 3, by_kind: [1, 2, 0, 0], comments: 4, shares: 5 };
        let (mentions, photos, liked) = (Vec::new(), Vec::new(), Some(Kind::Love));
        let parts = Parts { author: author(), mentions, photos, shared, counts, liked };
        serde_json::to_value(PostView::new(&post, parts)).unwrap()
    }

    #[test]
    fn what_is_shared_is_told_apart_from_what_shares_nothing() {
        assert!(view(None).get("shared").is_none());
        assert!(view(Some(SharedView::Unseen)).get("shared").unwrap().is_null());
    }

    #[test]
    fn counts_stand_beside_each_other() {
        let view = view(None);
        assert_eq!(
            (&view["likes_count"], &view["comments_count"], &view["shares_count"]),
            (&3.into(), &4.into(), &5.into())
        );
        assert_eq!((&view["likes_by_kind"]["love"], &view["liked"]), (&2.into(), &"love".into()));
        assert!(view.get("published_at").is_none() && view["created_at"].is_string());
    }

    #[test]
    fn a_comment_that_stands_in_for_itself_names_nobody() {
        let comment = Comment {
            id: CommentId::new(),
            post: PostId::new(),
            author: UserId::OPEN,
            text: String::new(),
            reply_to: None,
            created: Timestamp(0),
            deleted: Some(Timestamp(1)),
        };
        let thread = ThreadView { replies_count: 101, replies: Vec::new() };
        let view = serde_json::to_value(CommentView::new(&comment, None, Some(thread))).unwrap();
        assert_eq!((&view["deleted"], &view["replies_count"]), (&true.into(), &101.into()));
        assert!(view["author"].is_null() && view.get("reply_to").is_none());
    }
}
