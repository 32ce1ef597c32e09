//! Conversations: what two users write to each other.
//!
//! A conversation's messages are numbered from 1. Its record has the last number, and how far each of the two has read, so
//! that what is unread is a difference, and never counted anew; a user's sum over all conversations changes in the same
//! transactions. Who writes has read what was there. While one has blocked the other, the conversation is hidden from both,
//! and counts for neither.

use serde::{Deserialize, Serialize};

use super::changes::{self, Change, What};
use super::position::{Position, mark_at_commit, set_at_commit};
use super::subspaces::{
    CONVERSATION_POSITIONS, CONVERSATIONS, CONVERSATIONS_BY_PAIR, CONVERSATIONS_BY_USER, MESSAGES,
    MESSAGES_BY_ID,
};
use super::users::counts::{self, Counted};
use super::{ConversationId, MessageId, Timestamp, UserId, record, users, visibility};
use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};

/// Two users who write to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// Who takes part, the lower id first, and how far they have read.
    pub sides: [Side; 2],
    /// The number of its last message; 0 while there is none.
    pub last: u64,
    /// When it began.
    pub created: Timestamp,
    /// When something was last said.
    pub updated: Timestamp,
    /// Whether one has blocked the other.
    #[serde(default)]
    pub hidden: bool,
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// Who.
    pub user: UserId,
    /// The number of the last message that they have read.
    pub read: u64,
}

impl Conversation {
    /// What has been said and not been read by this user.
    pub fn unread(&self, user: UserId) -> u64 {
        self.side(user).map_or(0, |side| self.last.saturating_sub(side.read))
    }

    /// Whether the user takes part.
    pub fn is_of(&self, user: UserId) -> bool {
        self.side(user).is_some()
    }

    /// The one who is not this user.
    pub fn other(&self, user: UserId) -> UserId {
        let [one, other] = &self.sides;
        if one.user == user { other.user } else { one.user }
    }

    fn side(&self, user: UserId) -> Option<&Side> {
        self.sides.iter().find(|side| side.user == user)
    }
}

/// What was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Who said it.
    pub from: UserId,
    /// When.
    pub sent: Timestamp,
    /// The words; none any more, if it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A conversation to be begun, or found.
#[derive(Clone, Copy, Debug)]
pub struct Beginning {
    /// Its id, if there is none.
    pub id: ConversationId,
    /// Who begins it.
    pub by: UserId,
    /// With whom; somebody else.
    pub with: UserId,
    /// When.
    pub now: Timestamp,
    /// See [`identity::Identity::history`](super::identity::Identity::history).
    pub history: u64,
}

/// The conversation of two users, begun if there is none, and whether it is the one that was to be begun; `None` if there
/// is no such user, or one has blocked the other.
///
/// # Errors
/// Those of the engine.
pub async fn begin(
    tx: &Transaction,
    beginning: &Beginning,
) -> Result<Option<(Conversation, bool)>, StoreError> {
    let Beginning { id, by, with, now, history } = *beginning;
    if users::get(tx, with).await?.is_none() || visibility::is_blocked(tx, by, with).await? {
        return Ok(None);
    }
    if let Some(there) = of_pair(tx, by, with).await? {
        let is_this = there.id == id;
        return Ok(Some((there, is_this)));
    }
    let (lower, higher) = in_order(by, with);
    let sides = [lower, higher].map(|user| Side { user, read: 0 });
    let conversation = Conversation { id, sides, last: 0, created: now, updated: now, hidden: false };
    tx.set(&pair_key(by, with), &record::encode(&id)?)?;
    put(tx, &conversation)?;
    rise(tx, &conversation, history).await?;
    Ok(Some((conversation, true)))
}

/// The conversation, if there is one.
///
/// # Errors
/// Those of the engine.
pub async fn get(tx: &Transaction, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
    let key = CONVERSATIONS.key(&(id.0,));
    tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
}

/// The conversation, if the user takes part in it and it is not hidden.
///
/// # Errors
/// Those of the engine.
pub async fn seen_by(
    tx: &Transaction,
    user: UserId,
    id: ConversationId,
) -> Result<Option<Conversation>, StoreError> {
    Ok(get(tx, id).await?.filter(|conversation| conversation.is_of(user) && !conversation.hidden))
}

fn put(tx: &Transaction, conversation: &Conversation) -> Result<(), StoreError> {
    tx.set(&CONVERSATIONS.key(&(conversation.id.0,)), &record::encode(conversation)?)
}

fn in_order(one: UserId, other: UserId) -> (UserId, UserId) {
    (one.min(other), one.max(other))
}

fn pair_key(one: UserId, other: UserId) -> Vec<u8> {
    let (lower, higher) = in_order(one, other);
    CONVERSATIONS_BY_PAIR.key(&(lower.0, higher.0))
}

async fn of_pair(tx: &Transaction, one: UserId, other: UserId) -> Result<Option<Conversation>, StoreError> {
    let key = pair_key(one, other);
    match tx.get(&key).await? {
        Some(bytes) => get(tx, record::decode(&key, &bytes)?).await,
        None => Ok(None),
    }
}

/// Puts the conversation first in both lists.
async fn rise(tx: &Transaction, conversation: &Conversation, history: u64) -> Result<(), StoreError> {
    let (id, mark) = (conversation.id, CONVERSATION_POSITIONS.key(&(conversation.id.0,)));
    let before = tx.get(&mark).await?.map(|bytes| Position::of_value(&mark, &bytes)).transpose()?;
    for side in &conversation.sides {
        let list = (side.user.0,);
        if let Some(before) = before {
            tx.clear(&before.key(CONVERSATIONS_BY_USER, &list))?;
        }
        set_at_commit(tx, (CONVERSATIONS_BY_USER, &list), (history, 0), &record::encode(&id)?)?;
    }
    mark_at_commit(tx, &mark, (history, 0))
}

/// A message to be sent.
#[derive(Clone, Debug)]
pub struct Sending {
    /// To which conversation.
    pub conversation: ConversationId,
    /// The message.
    pub message: Message,
    /// See [`identity::Identity::history`](super::identity::Identity::history).
    pub history: u64,
}

/// Says something; the message's number, or `None` if its sender sees no such conversation. A second run finds its own.
///
/// # Errors
/// Those of the engine.
pub async fn send(tx: &Transaction, sending: &Sending) -> Result<Option<u64>, StoreError> {
    let Sending { conversation: id, message, history } = sending;
    let marker = MESSAGES_BY_ID.key(&(id.0, message.id.0));
    if let Some(bytes) = tx.get(&marker).await? {
        return record::decode(&marker, &bytes).map(Some);
    }
    let Some(mut conversation) = seen_by(tx, message.from, *id).await? else { return Ok(None) };
    let to = conversation.other(message.from);
    counts::add(tx, message.from, Counted::Unread, -signed(conversation.unread(message.from)))?;
    counts::add(tx, to, Counted::Unread, 1)?;
    conversation.last += 1;
    conversation.updated = message.sent;
    let number = conversation.last;
    for side in conversation.sides.iter_mut().filter(|side| side.user == message.from) {
        side.read = number;
    }
    tx.set(&marker, &record::encode(&number)?)?;
    tx.set(&MESSAGES.key(&(id.0, number)), &record::encode(message)?)?;
    put(tx, &conversation)?;
    rise(tx, &conversation, *history).await?;
    let what = What::MessageSent { conversation: *id, message: message.id, from: message.from, to: vec![to] };
    changes::append(tx, *history, &Change { at: message.sent, what })?;
    Ok(Some(number))
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The user has read up to the message of this number. Never less than before; the conversation as it is then, or `None`
/// if the user sees no such.
///
/// # Errors
/// Those of the engine.
pub async fn read_up_to(
    tx: &Transaction,
    user: UserId,
    id: ConversationId,
    number: u64,
) -> Result<Option<Conversation>, StoreError> {
    let Some(mut conversation) = seen_by(tx, user, id).await? else { return Ok(None) };
    let before = conversation.unread(user);
    let number = number.min(conversation.last);
    for side in conversation.sides.iter_mut().filter(|side| side.user == user) {
        side.read = side.read.max(number);
    }
    let read = before - conversation.unread(user);
    if read > 0 {
        counts::add(tx, user, Counted::Unread, -signed(read))?;
        put(tx, &conversation)?;
    }
    Ok(Some(conversation))
}

/// Takes the words of a message away, for its sender; whether it is theirs. Its place stays.
///
/// # Errors
/// Those of the engine.
pub async fn delete_message(
    tx: &Transaction,
    by: UserId,
    id: ConversationId,
    message: MessageId,
) -> Result<bool, StoreError> {
    if seen_by(tx, by, id).await?.is_none() {
        return Ok(false);
    }
    let marker = MESSAGES_BY_ID.key(&(id.0, message.0));
    let Some(bytes) = tx.get(&marker).await? else { return Ok(false) };
    let key = MESSAGES.key(&(id.0, record::decode::<u64>(&marker, &bytes)?));
    let Some(bytes) = tx.get(&key).await? else { return Ok(false) };
    let found: Message = record::decode(&key, &bytes)?;
    if found.from != by {
        return Ok(false);
    }
    tx.set(&key, &record::encode(&Message { text: None, ..found })?)?;
    Ok(true)
}

/// Messages of a conversation, the newest first, before one of them, at most `limit`, with their numbers.
///
/// # Errors
/// Those of the engine.
pub async fn messages(
    tx: &Transaction,
    id: ConversationId,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<(u64, Message)>, StoreError> {
    let all = MESSAGES.range(&(id.0,));
    let range: KeyRange = match before {
        Some(before) => all.before(&MESSAGES.key(&(id.0, before))),
        None => all,
    };
    let rows = tx.get_range(&range, RangeOptions::last(limit).snapshot()).await?;
    rows.iter()
        .map(|(key, bytes)| Ok((MESSAGES.unpack::<(uuid::Uuid, u64)>(key)?.1, record::decode(key, bytes)?)))
        .collect()
}

/// A user's conversations by when something was last said, the latest first, before a position, at most `limit`. Those that
/// are hidden are among them.
///
/// # Errors
/// Those of the engine.
pub async fn of_user(
    tx: &Transaction,
    user: UserId,
    before: Option<Position>,
    limit: usize,
) -> Result<Vec<(Position, Conversation)>, StoreError> {
    let list = (user.0,);
    let all = CONVERSATIONS_BY_USER.range(&list);
    let range: KeyRange = match before {
        Some(before) => all.before(&before.key(CONVERSATIONS_BY_USER, &list)),
        None => all,
    };
    let rows = tx.get_range(&range, RangeOptions::last(limit).snapshot()).await?;
    let mut found = Vec::with_capacity(rows.len());
    for (key, bytes) in rows {
        let position = Position::of_key(CONVERSATIONS_BY_USER, &list, &key)?;
        let conversation = get(tx, record::decode(&key, &bytes)?).await?;
        found.extend(conversation.map(|conversation| (position, conversation)));
    }
    Ok(found)
}

/// Hides the conversation of two users, of whom one blocks the other, or shows it again. It counts for neither while it is
/// hidden.
///
/// # Errors
/// Those of the engine.
pub(in crate::model) async fn set_hidden(
    tx: &Transaction,
    one: UserId,
    other: UserId,
    hidden: bool,
) -> Result<(), StoreError> {
    let Some(mut conversation) = of_pair(tx, one, other).await? else { return Ok(()) };
    if conversation.hidden == hidden {
        return Ok(());
    }
    for side in &conversation.sides {
        let unread = signed(conversation.unread(side.user));
        counts::add(tx, side.user, Counted::Unread, if hidden { -unread } else { unread })?;
    }
    conversation.hidden = hidden;
    put(tx, &conversation)
}

/// Removes at most `limit` messages of a conversation, and then itself, for a user who is removed; whether it is gone.
///
/// # Errors
/// Those of the engine.
pub async fn erase(tx: &Transaction, id: ConversationId, limit: usize) -> Result<bool, StoreError> {
    let Some(mut conversation) = get(tx, id).await? else { return Ok(true) };
    if !conversation.hidden {
        let [one, other] = conversation.sides.map(|side| side.user);
        set_hidden(tx, one, other, true).await?;
        conversation.hidden = true;
    }
    let rows = tx.get_range(&MESSAGES.range(&(id.0,)), RangeOptions::first(limit)).await?;
    for (key, bytes) in &rows {
        let message: Message = record::decode(key, bytes)?;
        tx.clear(&MESSAGES_BY_ID.key(&(id.0, message.id.0)))?;
        tx.clear(key)?;
    }
    if rows.len() == limit {
        return Ok(false);
    }
    let mark = CONVERSATION_POSITIONS.key(&(id.0,));
    let [one, other] = conversation.sides.map(|side| side.user);
    if let Some(bytes) = tx.get(&mark).await? {
        let position = Position::of_value(&mark, &bytes)?;
        for user in [one, other] {
            tx.clear(&position.key(CONVERSATIONS_BY_USER, &(user.0,)))?;
        }
    }
    tx.clear(&mark)?;
    tx.clear(&pair_key(one, other))?;
    tx.clear(&CONVERSATIONS.key(&(id.0,)))?;
    Ok(true)
}
