//! Which key prefix holds what: the one place that names them.
//!
//! Keys are FoundationDB tuples (<https://github.com/apple/foundationdb/blob/master/design/tuple.md>)
//! behind a one-byte prefix, so that a range of one noun never meets another's.

use foundationdb_tuple::TuplePack;

use crate::metadata::KeyRange;

/// A one-byte prefix with the tuples below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subspace(u8);

/// `()` → [`identity::Identity`](super::identity::Identity).
pub const IDENTITY: Subspace = Subspace(0x01);
/// `()` → the newest epoch; `(epoch)` → [`nodes::Node`](super::nodes::Node).
pub const NODES: Subspace = Subspace(0x02);
/// `()` → a restore that has begun and not ended: see [`backup`](crate::backup).
pub const RESTORE: Subspace = Subspace(0x03);
/// `(photo)` → [`photos::Photo`](super::photos::Photo).
pub const PHOTOS: Subspace = Subspace(0x10);
/// `(owner, photo)` → nothing. Photos of an owner by time of creation.
pub const PHOTOS_BY_OWNER: Subspace = Subspace(0x11);
/// `(owner, content hash)` → photo id. The owner's photo that has these bytes.
pub const PHOTOS_BY_CONTENT: Subspace = Subspace(0x12);
/// `(owner, content hash, photo)` → nothing. Further photos of the owner with these bytes, made because the owner wanted it.
pub const PHOTO_DOUBLES: Subspace = Subspace(0x13);
/// `(photo)` → how often its original was sent to others than its owner, as in [`COUNTS`].
pub const PHOTO_DOWNLOADS: Subspace = Subspace(0x14);
/// `(content hash)` → [`blobs::Blob`](super::blobs::Blob).
pub const BLOBS: Subspace = Subspace(0x20);
/// `(content hash, photo)` → nothing. One key per photo that refers to a blob.
pub const BLOB_REFERENCES: Subspace = Subspace(0x21);
/// `(content hash)` → nothing. Blobs that lost a reference; the Janitor looks whether it was the last.
pub const BLOBS_TO_CHECK: Subspace = Subspace(0x22);
/// `(epoch, object key)` → nothing. Object keys that may have been written and are not yet referenced.
pub const INTENTS: Subspace = Subspace(0x28);
/// `(object key)` → when it is due, 8 bytes big-endian milliseconds. Objects that nothing refers to, to be deleted.
pub const TOMBSTONES: Subspace = Subspace(0x29);
/// `(job)` → [`jobs::Job`](super::jobs::Job).
pub const JOBS: Subspace = Subspace(0x30);
/// `(class, vesting ms, job)` → nothing. The queue: due jobs first.
pub const JOBS_BY_VESTING: Subspace = Subspace(0x31);
/// `(photo)` → job id. A photo has at most one job.
pub const JOBS_BY_PHOTO: Subspace = Subspace(0x32);
/// `(epoch, job)` → nothing. The jobs that each node holds, so that its death makes them due without a look at the
/// rest.
pub const JOBS_BY_EPOCH: Subspace = Subspace(0x33);
/// `(job)` → [`jobs::DeadJob`](super::jobs::DeadJob). The letters of jobs that were given up.
pub const DEAD_JOBS: Subspace = Subspace(0x34);
/// `(died ms, job)` → nothing. Letters by age.
pub const DEAD_JOBS_BY_DEATH: Subspace = Subspace(0x35);
/// `(shard, history, versionstamp)` → [`changes::Change`](super::changes::Change).
pub const CHANGES: Subspace = Subspace(0x40);
/// `(shard)` → a number, 8 bytes little-endian, that every entry raises: what followers of the log watch.
pub const CHANGE_SIGNALS: Subspace = Subspace(0x41);
/// `(shard)` → [`shards::ShardLease`](super::shards::ShardLease). Who carries out what a shard's entries lead to.
pub const SHARD_LEASES: Subspace = Subspace(0x42);
/// `(shard, consumer)` → the [`Position`](super::Position) up to which a durable consumer has done its part; and
/// `(shard, "trimmed")` → that up to which entries were removed.
pub const SHARD_CURSORS: Subspace = Subspace(0x43);
/// `(epoch)` → nothing. Nodes that carry shards of the log, or wish to: they share them evenly.
pub const SHARD_SEEKERS: Subspace = Subspace(0x44);

/// `(user)` → [`users::User`](super::users::User).
pub const USERS: Subspace = Subspace(0x80);
/// `(e-mail address, folded)` → user id.
pub const USERS_BY_EMAIL: Subspace = Subspace(0x81);
/// `(handle)` → user id.
pub const USERS_BY_HANDLE: Subspace = Subspace(0x82);
/// `(issuer, subject)` → user id. Users whom an identity provider vouches for.
pub const USERS_BY_SUBJECT: Subspace = Subspace(0x83);
/// `(user)` → the hash of the user's password.
pub const PASSWORDS: Subspace = Subspace(0x84);
/// `(session)` → [`sessions::Session`](super::sessions::Session).
pub const SESSIONS: Subspace = Subspace(0x85);
/// `(user, session)` → nothing.
pub const SESSIONS_BY_USER: Subspace = Subspace(0x86);
/// `(expiry ms, session)` → nothing. What the Janitor forgets, the earliest first.
pub const SESSIONS_BY_EXPIRY: Subspace = Subspace(0x87);
/// `(key)` → [`api_keys::ApiKey`](super::api_keys::ApiKey).
pub const API_KEYS: Subspace = Subspace(0x88);
/// `(key)` → when it was last used, 8 bytes little-endian milliseconds, changed by atomic operations only.
pub const API_KEY_USES: Subspace = Subspace(0x89);
/// `(key id)` → [`signing_keys::SigningKey`](super::signing_keys::SigningKey). What tokens and links are signed with.
pub const SIGNING_KEYS: Subspace = Subspace(0x8A);
/// `(user, what)` → a count, as in [`COUNTS`]. See [`users::counts`](super::users::counts).
pub const USER_COUNTS: Subspace = Subspace(0x8B);
/// `(user)` → issuer and subject: the row of [`USERS_BY_SUBJECT`] that is the user's.
pub const SUBJECTS_OF_USERS: Subspace = Subspace(0x8F);

/// `(follower, followed)` → [`follows::Follow`](super::follows::Follow).
pub const FOLLOWING: Subspace = Subspace(0x90);
/// `(followed, follower)` → nothing.
pub const FOLLOWERS: Subspace = Subspace(0x91);
/// `(follower, followed)` → nothing. Those of the followed whose posts are merged when a timeline is read.
pub const FOLLOWING_MERGED: Subspace = Subspace(0x92);
/// `(user, blocked user)` → when.
pub const BLOCKS: Subspace = Subspace(0x93);
/// `(blocked user, user)` → nothing.
pub const BLOCKED_BY: Subspace = Subspace(0x94);

/// `(post)` → [`posts::Post`](super::posts::Post).
pub const POSTS: Subspace = Subspace(0xA0);
/// `(post)` → the [`Position`](super::Position) of a post that was published.
pub const POST_POSITIONS: Subspace = Subspace(0xA1);
/// `(author, history, versionstamp)` → post id. An author's published posts.
pub const POSTS_BY_AUTHOR: Subspace = Subspace(0xA2);
/// `(photo, post)` → how visible the post is: see [`posts::Shown`](super::posts::Shown).
pub const POSTS_BY_PHOTO: Subspace = Subspace(0xA3);
/// `(photo, post)` → nothing. Posts that wait for the photo.
pub const POSTS_WAITING: Subspace = Subspace(0xA4);
/// `(tag, history, versionstamp)` → post id. Published posts that are not private.
pub const POSTS_BY_TAG: Subspace = Subspace(0xA5);
/// `(post, what)` → a count, as in [`COUNTS`].
pub const POST_COUNTS: Subspace = Subspace(0xA6);
/// `(post, user)` → [`likes::Like`](super::likes::Like).
pub const LIKES: Subspace = Subspace(0xA7);
/// `(user, post)` → nothing.
pub const LIKES_BY_USER: Subspace = Subspace(0xA8);
/// `(post, comment)` → [`comments::Comment`](super::comments::Comment). Those that reply to none.
pub const COMMENTS: Subspace = Subspace(0xA9);
/// `(user, comment)` → post id.
pub const COMMENTS_BY_USER: Subspace = Subspace(0xAA);
/// `(post, sharing post)` → nothing.
pub const SHARES: Subspace = Subspace(0xAB);
/// `(author, draft post)` → nothing. Posts that are not published yet.
pub const POSTS_UNPUBLISHED: Subspace = Subspace(0xAC);
/// `(post, comment, reply)` → [`comments::Comment`](super::comments::Comment). Replies, under what they reply to.
pub const REPLIES: Subspace = Subspace(0xAD);
/// `(post, reply)` → the comment that it replies to, so that a reply is found by its own id.
pub const REPLY_PARENTS: Subspace = Subspace(0xAE);
/// `(post, comment)` → how many replies it has, as in [`COUNTS`].
pub const REPLY_COUNTS: Subspace = Subspace(0xAF);
/// `(album)` → [`albums::Album`](super::albums::Album).
pub const ALBUMS: Subspace = Subspace(0xB0);
/// `(owner, album)` → nothing.
pub const ALBUMS_BY_OWNER: Subspace = Subspace(0xB1);
/// `(album, photo)` → nothing.
pub const ALBUM_PHOTOS: Subspace = Subspace(0xB2);
/// `(album)` → how many photos are in it, as in [`COUNTS`].
pub const ALBUM_COUNTS: Subspace = Subspace(0xB3);
/// `(album)` → nothing. Albums that are gone, whose rows are still to be cleared.
pub const ALBUMS_ENDING: Subspace = Subspace(0xB4);

/// `(user, history, versionstamp)` → post and author: the entries of home timelines.
pub const TIMELINES: Subspace = Subspace(0xC0);
/// `(author)` → [`fanout::Manner`](super::fanout::Manner). How the author's posts reach followers; none: by fan-out.
pub const FANOUT_MANNERS: Subspace = Subspace(0xC1);
/// `(shard, history, versionstamp, number)` → [`fanout::Task`](super::fanout::Task). Long work over many rows, in chunks.
pub const FEED_TASKS: Subspace = Subspace(0xC2);
/// `(kind, shard, half-life in seconds, score, what)` → nothing: what trends, the lowest score first. See
/// [`trending`](super::trending).
pub const TRENDING: Subspace = Subspace(0xC3);
/// `(kind, shard, half-life in seconds, what)` → [`trending::Standing`](super::trending::Standing).
pub const TRENDING_SCORES: Subspace = Subspace(0xC4);
/// `(post, user)` → when the user liked the post: a like that the score of the post holds.
pub const TRENDING_LIKES: Subspace = Subspace(0xC5);

/// `(noun, state)` → a count, 8 bytes little-endian, changed by atomic adds only.
pub const COUNTS: Subspace = Subspace(0x50);
/// `(owner, key)` → what is [remembered](super::idempotency) of the request that was sent under an idempotency key.
pub const IDEMPOTENCY: Subspace = Subspace(0x70);
/// `(series, number)` → [`idempotency::Bound`](super::idempotency::Bound). The photos that such a request made.
pub const IDEMPOTENCY_PHOTOS: Subspace = Subspace(0x71);
/// `(expiry ms, series)` → owner and key. What is to be forgotten, the earliest first.
pub const IDEMPOTENCY_BY_EXPIRY: Subspace = Subspace(0x72);

/// `(batch)` → [`batches::Batch`](super::batches::Batch).
pub const BATCHES: Subspace = Subspace(0x68);
/// `(owner, batch)` → nothing. Batches of an owner by time of creation.
pub const BATCHES_BY_OWNER: Subspace = Subspace(0x69);
/// `(owner, batch)` → nothing. Those of them that take uploads.
pub const BATCHES_OPEN: Subspace = Subspace(0x6A);
/// `(batch, 0, item)` → [`batches::Item`](super::batches::Item); `(batch, 1, state, item)` → nothing, for states that
/// few items are in.
pub const BATCH_ITEMS: Subspace = Subspace(0x6B);
/// `(batch, 0, what)` → a count, and `(batch, 1, bucket, what)` → what was finished in a short time: 8 bytes
/// little-endian, changed by atomic operations only.
pub const BATCH_COUNTS: Subspace = Subspace(0x6C);
/// `(due ms, batch)` → nothing. When the Janitor looks whether a batch may go.
pub const BATCHES_BY_EXPIRY: Subspace = Subspace(0x6D);
/// `(upload)` → [`uploads::Upload`](super::uploads::Upload).
pub const UPLOADS: Subspace = Subspace(0x60);
/// `(upload, offset)` → the object with the bytes from there on: see [`uploads::Piece`](super::uploads::Piece).
pub const UPLOAD_PIECES: Subspace = Subspace(0x61);
/// `(ms, upload)` → nothing. Uploads by when something is to be done about them.
pub const UPLOADS_BY_EXPIRY: Subspace = Subspace(0x62);
/// `(owner, content hash)` → upload id. The owner's open upload that was announced to have this content.
pub const UPLOADS_BY_CONTENT: Subspace = Subspace(0x63);
/// `(what)` and `(what, owner)` → a count of open uploads or of the bytes in them, changed by atomic adds only.
pub const UPLOAD_COUNTS: Subspace = Subspace(0x64);

/// `(upload)` → [`direct::DirectUpload`](super::direct::DirectUpload).
pub const DIRECT_UPLOADS: Subspace = Subspace(0x7A);
/// `(due ms, upload)` → nothing. Direct uploads by when the Janitor looks at them.
pub const DIRECT_UPLOADS_DUE: Subspace = Subspace(0x7B);
/// `(owner, "uploads" or "bytes")` → what the owner has open, 8 bytes little-endian, changed by atomic adds only.
pub const DIRECT_UPLOADS_OPEN: Subspace = Subspace(0x7C);
/// `(owner, "photos" | "bytes" | "uploads")` → a count, as in [`COUNTS`]. See [`usage`](super::usage).
pub const USAGE: Subspace = Subspace(0x78);
/// `()` → how far the photos of a store that is older than [`USAGE`] have been counted.
pub const USAGE_COUNTED: Subspace = Subspace(0x79);

/// `(conversation)` → [`conversations::Conversation`](super::conversations::Conversation).
pub const CONVERSATIONS: Subspace = Subspace(0xD0);
/// `(lower user id, higher user id)` → conversation id.
pub const CONVERSATIONS_BY_PAIR: Subspace = Subspace(0xD1);
/// `(user, history, versionstamp)` → conversation id. A user's conversations by when something was last said.
pub const CONVERSATIONS_BY_USER: Subspace = Subspace(0xD2);
/// `(conversation)` → the [`Position`](super::Position) at which it stands in its users' lists.
pub const CONVERSATION_POSITIONS: Subspace = Subspace(0xD3);
/// `(conversation, number)` → [`conversations::Message`](super::conversations::Message).
pub const MESSAGES: Subspace = Subspace(0xD4);
/// `(conversation, message)` → its number.
pub const MESSAGES_BY_ID: Subspace = Subspace(0xD5);

impl Subspace {
    /// The key of `tuple` in this subspace.
    pub fn key<T: TuplePack>(self, tuple: &T) -> Vec<u8> {
        let mut key = vec![self.0];
        foundationdb_tuple::pack_into(tuple, &mut key);
        key
    }

    /// Every key in this subspace whose tuple begins with `prefix` and has more elements.
    pub fn range<T: TuplePack>(self, prefix: &T) -> KeyRange {
        let key = self.key(prefix);
        // Tuple type codes lie between 0x00 and 0xFF exclusive.
        KeyRange::new([&key[..], &[0x00]].concat(), [&key[..], &[0xFF]].concat())
    }

    /// Every key in this subspace.
    pub fn all(self) -> KeyRange {
        KeyRange::new(vec![self.0], vec![self.0 + 1])
    }

    /// The tuple of a key of this subspace.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`](crate::StoreError::Corrupt) if the key is of another subspace or shape.
    pub fn unpack<'k, T: foundationdb_tuple::TupleUnpack<'k>>(
        self,
        key: &'k [u8],
    ) -> Result<T, crate::StoreError> {
        let tuple =
            key.strip_prefix(&[self.0]).ok_or_else(|| super::record::corrupt_key(key, "wrong prefix"))?;
        foundationdb_tuple::unpack(tuple).map_err(|e| super::record::corrupt_key(key, &e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_own_keys_and_no_neighbours() {
        let range = JOBS_BY_VESTING.range(&(1_u64,));
        let inside = JOBS_BY_VESTING.key(&(1_u64, 7_u64, "x"));
        let next_class = JOBS_BY_VESTING.key(&(2_u64, 0_u64, "x"));
        let bare = JOBS_BY_VESTING.key(&(1_u64,));
        assert!(range.begin <= inside && inside < range.end);
        assert!(next_class >= range.end);
        assert!(bare < range.begin, "a key that equals the prefix is not below it");
    }

    #[test]
    fn keys_unpack_to_what_was_packed_and_refuse_other_subspaces() {
        let key = PHOTOS_BY_OWNER.key(&("open", 3_u64));
        assert_eq!(PHOTOS_BY_OWNER.unpack::<(String, u64)>(&key).unwrap(), ("open".to_owned(), 3));
        assert!(PHOTOS.unpack::<(String, u64)>(&key).is_err());
    }
}
