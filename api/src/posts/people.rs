//! The users who are named in answers.

use std::collections::{BTreeSet, HashMap};

use darkroom_store::StoreError;
use darkroom_store::metadata::Transaction;
use darkroom_store::model::UserId;
use darkroom_store::model::users::{self, User};
use darkroom_store::model::visibility::{self, Relation, Viewer};
use futures_util::future::{try_join, try_join_all};
use serde::Serialize;

/// A user, as others are told of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserRef {
    /// Their id.
    pub id: String,
    /// What they call themselves.
    pub name: String,
    /// What they are mentioned by.
    pub handle: Option<String>,
}

impl UserRef {
    /// Of a record.
    pub fn new(user: &User) -> Self {
        Self { id: user.id.to_string(), name: user.name.clone(), handle: user.handle.clone() }
    }
}

/// Users as somebody sees them.
#[derive(Debug, Default)]
pub struct People(HashMap<UserId, (UserRef, Relation)>);

impl People {
    /// Looks for users, each once and all at the same time. Those who are gone are not found.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn find(
        tx: &Transaction,
        viewer: Viewer,
        ids: impl IntoIterator<Item = UserId>,
    ) -> Result<Self, StoreError> {
        let distinct: BTreeSet<UserId> = ids.into_iter().collect();
        let looks = distinct.into_iter().map(|id| async move {
            let (user, relation) = try_join(users::get(tx, id), visibility::relation(tx, viewer, id)).await?;
            Ok::<_, StoreError>(user.map(|user| (id, (UserRef::new(&user), relation))))
        });
        Ok(Self(try_join_all(looks).await?.into_iter().flatten().collect()))
    }

    /// How the viewer stands to a user who is there.
    pub fn relation(&self, id: UserId) -> Option<Relation> {
        self.0.get(&id).map(|(_, relation)| *relation)
    }

    /// A user who is there, and whom no block hides.
    pub fn seen(&self, id: UserId) -> Option<&UserRef> {
        self.0.get(&id).filter(|(_, relation)| *relation != Relation::Blocked).map(|(user, _)| user)
    }
}
