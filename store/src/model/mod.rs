//! The nouns of the system, one file each: typed functions over a transaction.
//!
//! Nothing here looks at a clock or rolls dice: ids and times are made by the caller, outside the
//! transaction's function, because that function may run more than once. Each writing function checks
//! before it writes, and reads a marker that tells a second run what the first one did.
//!
//! - [`subspaces`]: which key prefix holds what.
//! - [`record`]: how a record is encoded, with a version in front.
//! - [`file_name`]: what is kept of the names that clients give their files.
//! - [`ids`]: ids, times and content hashes.
//! - [`chunks`]: records that may be larger than a value may be.
//! - [`identity`]: the store's own identity and format version.
//! - [`nodes`]: epochs, one for each life of a node; which of them live, and which are dead.
//! - [`photos`]: a photo's record and its way from `processing` to `ready`, `failed` or deleted.
//! - [`batches`]: many uploads that are followed as one: counts, items, rate.
//! - [`blobs`]: content stored once, with a reference key per photo.
//! - [`objects`](mod@objects): intents before a put, tombstones before a delete.
//! - [`jobs`]: durable work, ordered by vesting time, leased by moving that time.
//! - [`uploads`]: files that come in more than one request.
//! - [`direct`]: uploads that clients send to the object store by themselves.
//! - [`changes`]: the change log, sharded by subject.
//! - [`idempotency`]: requests that are carried out once, however often they are sent.
//! - [`usage`]: what each owner uses, and how much that may be.
//! - [`position`]: where something stands in a list that is ordered by commits.
//! - [`counters`]: counts that are changed by atomic adds.
//! - [`users`]: people. [`follows`]: who follows and who blocks whom.
//! - [`sessions`], [`api_keys`]: how people and programs sign in.
//! - [`visibility`]: who may see what.
//! - [`conversations`]: what two users write to each other.
//! - [`posts`]: photos published with a caption. [`likes`] and [`comments`]: what others make of them. [`albums`]: photos that
//!   belong together. [`tags`]: words to find them by.
//! - [`signing_keys`]: what access tokens and signed links are signed with.
//! - [`shards`]: who carries out what a shard of the change log leads to, and how far it has come.
//! - [`effects`]: what that is. [`fanout`]: posts come into timelines. [`timelines`]: how those are read.
//!   [`trending`]: what many like at present. [`ranking`]: the order of a page.

pub mod albums;
pub mod api_keys;
pub mod batches;
pub mod blobs;
pub mod changes;
pub mod chunks;
pub mod comments;
pub mod conversations;
pub mod counters;
pub mod direct;
pub mod effects;
pub mod fanout;
pub mod file_name;
pub mod follows;
pub mod healing;
pub mod idempotency;
pub mod identity;
pub mod ids;
pub mod jobs;
pub mod likes;
pub mod nodes;
pub mod objects;
pub mod photos;
pub mod position;
pub mod posts;
pub mod ranking;
pub mod record;
pub mod sessions;
pub mod shards;
pub mod signing_keys;
pub mod subspaces;
pub mod tags;
pub mod timelines;
pub mod trending;
pub mod uploads;
pub mod usage;
pub mod users;
pub mod visibility;

pub use ids::{
    AlbumId, ApiKeyId, BatchId, CommentId, ContentHash, ConversationId, Epoch, ItemId, JobId, LeaseId,
    MessageId, OwnerId, PhotoId, PostId, SeriesId, SessionId, Timestamp, UploadId, UserId, WebhookId,
};
pub use position::Position;
