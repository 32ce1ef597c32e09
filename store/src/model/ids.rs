//! Ids, times and content hashes.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $make:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id. Called outside transactions: their function may run more than once.
            #[allow(clippy::new_without_default, reason = "two defaults would not be equal")]
            pub fn new() -> Self {
                Self(Uuid::$make())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

uuid_id!(
    /// A photo: `UUIDv7`, so that ids sort by the time of creation.
    PhotoId,
    now_v7
);
uuid_id!(
    /// A piece of durable work.
    JobId,
    now_v7
);
uuid_id!(
    /// A resumable or direct transfer in progress.
    UploadId,
    now_v7
);
uuid_id!(
    /// Many uploads that are followed as one.
    BatchId,
    now_v7
);
uuid_id!(
    /// One file of a batch, whatever became of it: the id of the photo that its upload was to make.
    ItemId,
    now_v7
);
uuid_id!(
    /// One holding of a job by one process. Random, so that nobody can hold a lease by accident.
    LeaseId,
    new_v4
);
uuid_id!(
    /// A series of attempts at one request that its client has named by an idempotency key: `UUIDv7`. What the request is to
    /// make may have it for its id.
    SeriesId,
    now_v7
);

uuid_id!(
    /// A person who has photos, follows others and is followed.
    UserId,
    now_v7
);
uuid_id!(
    /// One sign-in of a user, with all tokens that follow from it.
    SessionId,
    now_v7
);
uuid_id!(
    /// A key by which a program signs in.
    ApiKeyId,
    now_v7
);
uuid_id!(
    /// Photos published with a caption.
    PostId,
    now_v7
);
uuid_id!(
    /// What somebody says about a post.
    CommentId,
    now_v7
);
uuid_id!(
    /// Photos of one owner that belong together.
    AlbumId,
    now_v7
);
uuid_id!(
    /// Users who send each other messages.
    ConversationId,
    now_v7
);
uuid_id!(
    /// One message of a conversation.
    MessageId,
    now_v7
);
uuid_id!(
    /// An address that is told what happens.
    WebhookId,
    now_v7
);

impl UserId {
    /// The fixed user of a daemon without authentication, and of keys that belong to nobody: the nil UUID, which is
    /// nobody else's.
    pub const OPEN: Self = Self(Uuid::nil());
}

impl From<PhotoId> for ItemId {
    fn from(photo: PhotoId) -> Self {
        Self(photo.0)
    }
}

/// Whose photo it is: a user, as it stands in keys and records that are older than users.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OwnerId(String);

impl OwnerId {
    /// The fixed user of a daemon without authentication.
    pub fn open() -> Self {
        Self("open".to_owned())
    }

    /// Nobody: the owner of nothing.
    pub fn nobody() -> Self {
        Self(String::new())
    }

    /// The user, as an owner.
    pub fn of(user: UserId) -> Self {
        if user == UserId::OPEN { Self::open() } else { Self(user.to_string()) }
    }

    /// The owner, as a user; `None` for an owner that no user can be.
    pub fn user(&self) -> Option<UserId> {
        if *self == Self::open() { Some(UserId::OPEN) } else { self.0.parse().ok() }
    }

    /// The owner's name as it stands in keys.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One life of a node. Epochs grow by one at each start and are never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The wall clock's time.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// This time moved by `delay` into the future.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was, zero if it lies in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_millis(time.0)
    }
}

/// The BLAKE3 digest of some bytes, written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub [u8; 32]);

impl ContentHash {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The first 16 hex digits: what a link to a variant carries as `v`.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(16);
        text
    }
}

impl From<blake3::Hash> for ContentHash {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from(self.0).to_hex())
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ContentHash {
    type Err = blake3::HexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        blake3::Hash::from_hex(text).map(Self::from)
    }
}

impl Serialize for ContentHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_hash_survives_its_text_form() {
        let hash = ContentHash::of(b"a photo");
        assert_eq!(hash.to_string().parse::<ContentHash>().unwrap(), hash);
        assert_eq!(hash.short().len(), 16);
        assert!(hash.to_string().starts_with(&hash.short()));
        let json = serde_json::to_string(&hash).unwrap();
        assert_eq!(serde_json::from_str::<ContentHash>(&json).unwrap(), hash);
    }

    #[test]
    fn an_owner_is_its_user() {
        for user in [UserId::OPEN, UserId::new()] {
            assert_eq!(OwnerId::of(user).user(), Some(user));
        }
        assert_eq!(OwnerId::of(UserId::OPEN), OwnerId::open());
        assert_eq!(OwnerId::nobody().user(), None);
    }

    #[test]
    fn photo_ids_sort_by_time() {
        let ids: Vec<_> = (0..100).map(|_| PhotoId::new()).collect();
        assert!(ids.is_sorted());
    }

    #[test]
    fn timestamps_neither_wrap_nor_go_negative() {
        assert_eq!(Timestamp(u64::MAX).after(Duration::from_secs(1)), Timestamp(u64::MAX));
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
    }
}
