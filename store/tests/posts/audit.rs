//! Whether everything that is listed and counted is what follows from the records.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use darkroom_store::metadata::RangeOptions;
use darkroom_store::model::comments::Comment;
use darkroom_store::model::likes::{Kind, Like};
use darkroom_store::model::posts::counts::Counts;
use darkroom_store::model::posts::{Post, State};
use darkroom_store::model::subspaces::{
    COMMENTS, COMMENTS_BY_USER, FOLLOWERS, FOLLOWING, LIKES, LIKES_BY_USER, POST_POSITIONS, POSTS,
    POSTS_BY_AUTHOR, POSTS_BY_PHOTO, POSTS_BY_TAG, POSTS_UNPUBLISHED, POSTS_WAITING, REPLIES, REPLY_PARENTS,
    SHARES, Subspace, USERS,
};
use darkroom_store::model::users::counts;
use darkroom_store::model::{CommentId, Position, PostId, UserId, comments, record};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::scene::Scene;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

impl Scene {
    pub(crate) async fn rows(&self, subspace: Subspace) -> Rows {
        let rows = |tx: darkroom_store::metadata::Transaction| async move {
            tx.get_range(&subspace.all(), RangeOptions::default()).await
        };
        self.read(rows).await.into_iter().collect()
    }

    async fn records<T: DeserializeOwned>(&self, subspace: Subspace) -> Vec<T> {
        self.rows(subspace).await.iter().map(|(key, bytes)| record::decode(key, bytes).unwrap()).collect()
    }

    /// Fails unless lists and counts are those of the records.
    pub(crate) async fn audit(&self) {
        let posts: Vec<Post> = self.records(POSTS).await;
        self.audit_lists(&posts).await;
        self.audit_users(&posts).await;
        let there: BTreeSet<Uuid> = posts.iter().map(|post| post.id.0).collect();
        let rows = Answers::of(self).await;
        for post in &posts {
            assert_eq!(self.counts(post.id).await, rows.counts(post.id), "{post:?}");
        }
        self.audit_comments(&rows).await;
        let shares = posts.iter().filter_map(|post| Some((post.shared?.0, post.id.0)));
        let shares: BTreeSet<_> = shares.filter(|(original, _)| there.contains(original)).collect();
        let kept = rows.shares.iter().copied().filter(|(original, _)| there.contains(original));
        assert_eq!(kept.collect::<BTreeSet<_>>(), shares);
    }

    /// Posts stand in the lists in which they belong, and in no other.
    async fn audit_lists(&self, posts: &[Post]) {
        let positions = self.rows(POST_POSITIONS).await;
        let mut expected: HashMap<&str, Rows> = HashMap::new();
        let mut expect = |list, key, value| expected.entry(list).or_default().insert(key, value);
        for post in posts {
            let id = record::encode(&post.id).unwrap();
            let key = POST_POSITIONS.key(&(post.id.0,));
            if post.state != State::Published {
                assert!(!positions.contains_key(&key));
                expect("unpublished", POSTS_UNPUBLISHED.key(&(post.author.0, post.id.0)), Vec::new());
                for photo in &post.photos {
                    expect("waiting", POSTS_WAITING.key(&(photo.0, post.id.0)), Vec::new());
                }
                continue;
            }
            let value = positions.get(&key).unwrap_or_else(|| panic!("no position: {post:?}"));
            let position = Position::of_value(&key, value).unwrap();
            expect("positions", key, value.clone());
            expect("author", position.key(POSTS_BY_AUTHOR, &(post.author.0,)), id.clone());
            for tag in post.tags.iter().filter(|_| post.is_shown()) {
                expect("tags", position.key(POSTS_BY_TAG, &(tag,)), id.clone());
            }
            for photo in &post.photos {
                let visibility = record::encode(&post.visibility).unwrap();
                expect("photos", POSTS_BY_PHOTO.key(&(photo.0, post.id.0)), visibility);
            }
        }
        for (list, subspace) in [
            ("unpublished", POSTS_UNPUBLISHED),
            ("waiting", POSTS_WAITING),
            ("positions", POST_POSITIONS),
            ("author", POSTS_BY_AUTHOR),
            ("tags", POSTS_BY_TAG),
            ("photos", POSTS_BY_PHOTO),
        ] {
            assert_eq!(self.rows(subspace).await, expected.remove(list).unwrap_or_default(), "{list}");
        }
    }

    async fn audit_users(&self, posts: &[Post]) {
        let follows = |rows: Rows, subspace: Subspace| -> Vec<(Uuid, Uuid)> {
            rows.keys().map(|key| subspace.unpack(key).unwrap()).collect()
        };
        let following = follows(self.rows(FOLLOWING).await, FOLLOWING);
        let followers = follows(self.rows(FOLLOWERS).await, FOLLOWERS);
        for key in self.rows(USERS).await.keys() {
            let (user,): (Uuid,) = USERS.unpack(key).unwrap();
            let user = UserId(user);
            let counts = self.read(|tx| async move { counts::of(&tx, user).await }).await;
            let shown = posts.iter().filter(|post| post.author == user && post.is_shown());
            assert_eq!(counts.posts, shown.count() as u64, "{user}");
            assert_eq!(counts.following, following.iter().filter(|(by, _)| *by == user.0).count() as u64);
            assert_eq!(counts.followers, followers.iter().filter(|(of, _)| *of == user.0).count() as u64);
        }
    }

    async fn audit_comments(&self, rows: &Answers) {
        let (mut pointers, mut listed) = (BTreeSet::new(), BTreeSet::new());
        for comment in &rows.comments {
            let (post, id) = (comment.post, comment.id);
            let found = self.read(|tx| async move { comments::get(&tx, post, id).await }).await;
            assert_eq!(found.as_ref(), Some(comment));
            if comment.deleted.is_none() {
                listed.insert((comment.author.0, comment.id.0));
            }
            if comment.reply_to.is_some() {
                pointers.insert((post.0, id.0));
                continue;
            }
            let replies = rows.comments.iter().filter(|reply| reply.reply_to == Some(id)).count() as u64;
            let counted = self.read(|tx| async move { comments::replies_count(&tx, post, id).await }).await;
            assert_eq!(counted, replies, "{comment:?}");
            assert!(comment.deleted.is_none() || replies > 0, "nothing holds {comment:?}");
        }
        let keys = |rows: Rows, subspace: Subspace| -> BTreeSet<(Uuid, Uuid)> {
            rows.keys().map(|key| subspace.unpack(key).unwrap()).collect()
        };
        assert_eq!(keys(self.rows(REPLY_PARENTS).await, REPLY_PARENTS), pointers);
        assert_eq!(keys(self.rows(COMMENTS_BY_USER).await, COMMENTS_BY_USER), listed);
        let by_user = keys(self.rows(LIKES_BY_USER).await, LIKES_BY_USER);
        let likes: BTreeSet<_> = rows.likes.iter().map(|((post, user), _)| (*user, *post)).collect();
        assert_eq!(by_user, likes);
    }
}

/// What others made of posts.
struct Answers {
    likes: BTreeMap<(Uuid, Uuid), Like>,
    comments: Vec<Comment>,
    shares: Vec<(Uuid, Uuid)>,
}

impl Answers {
    async fn of(scene: &Scene) -> Self {
        let likes = scene.rows(LIKES).await;
        let likes = likes
            .iter()
            .map(|(key, bytes)| (LIKES.unpack(key).unwrap(), record::decode(key, bytes).unwrap()));
        let mut comments: Vec<Comment> = scene.records(COMMENTS).await;
        comments.extend(scene.records::<Comment>(REPLIES).await);
        let shares = scene.rows(SHARES).await;
        let shares = shares.keys().map(|key| SHARES.unpack(key).unwrap()).collect();
        Self { likes: likes.collect(), comments, shares }
    }

    fn counts(&self, post: PostId) -> Counts {
        let likes = || self.likes.iter().filter(|((liked, _), _)| *liked == post.0);
        let of_kind = |kind: Kind| likes().filter(|(_, like)| like.kind == kind).count() as u64;
        let comments = self.comments.iter();
        let comments = comments.filter(|comment| comment.post == post && comment.deleted.is_none());
        Counts {
            likes: likes().count() as u64,
            by_kind: Kind::ALL.map(of_kind),
            comments: comments.count() as u64,
            shares: self.shares.iter().filter(|(original, _)| *original == post.0).count() as u64,
        }
    }
}

/// The ids of comments, in order.
pub(crate) fn ids(comments: &[Comment]) -> Vec<CommentId> {
    comments.iter().map(|comment| comment.id).collect()
}
