//! The slow, obvious model: everything that was done, in lists that are gone through from end to end.

use std::collections::BTreeSet;

use darkroom_store::model::visibility::Visibility;
use darkroom_store::model::{Position, PostId, UserId};

/// A post as the model knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) id: PostId,
    pub(crate) author: UserId,
    pub(crate) visibility: Visibility,
    pub(crate) was_shown: bool,
    pub(crate) position: Position,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    pub(crate) posts: Vec<Known>,
    /// Follower and followed.
    pub(crate) follows: BTreeSet<(UserId, UserId)>,
    /// Who has blocked whom.
    pub(crate) blocks: BTreeSet<(UserId, UserId)>,
}

impl Truth {
    /// What the timeline of a user is, newest first.
    pub(crate) fn timeline(&self, user: UserId) -> Vec<(Position, PostId)> {
        let sees = |post: &&Known| {
            post.author == user
                || (self.follows.contains(&(user, post.author)) && post.visibility >= Visibility::Followers)
        };
        let mut entries: Vec<_> =
            self.posts.iter().filter(sees).map(|post| (post.position, post.id)).collect();
        entries.sort_unstable();
        entries.reverse();
        entries
    }

    pub(crate) fn is_blocked(&self, one: UserId, other: UserId) -> bool {
        self.blocks.contains(&(one, other)) || self.blocks.contains(&(other, one))
    }

    pub(crate) fn block(&mut self, by: UserId, to: UserId) {
        self.blocks.insert((by, to));
        self.follows.remove(&(by, to));
        self.follows.remove(&(to, by));
    }
}
