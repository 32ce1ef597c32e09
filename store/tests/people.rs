//! People and what they publish, over a real engine: what each transaction promises, also when it runs twice.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it skips"
)]

use darkroom_store::metadata::{CommitFault, Metadata, RangeOptions};
use darkroom_store::model::changes::{self, What};
use darkroom_store::model::conversations::{self, Beginning, Message, Sending};
use darkroom_store::model::follows::{self, Act, Followed};
use darkroom_store::model::subspaces::{
    CONVERSATIONS, CONVERSATIONS_BY_PAIR, CONVERSATIONS_BY_USER, MESSAGES, MESSAGES_BY_ID,
};
use darkroom_store::model::users::{self, Taken, User, counts};
use darkroom_store::model::visibility::{self, Relation, Viewer};
use darkroom_store::model::{ConversationId, MessageId, Position, Timestamp, UserId};

#[macro_use]
mod engines;

use engines::{Engine, Place};

const NOW: Timestamp = Timestamp(1_000_000);
const HISTORY: u64 = 0;

cases! { crate::run:
    what_identifies_a_user_is_nobody_elses,
    following_is_counted_once_also_where_a_commit_is_unknown,
    a_block_ends_following_both_ways_and_an_end_of_it_brings_nothing_back,
    changes_are_read_in_order_from_any_position,
    what_is_unread_is_what_was_said_and_not_read,
    a_blocked_users_conversation_is_hidden_and_counts_for_neither,
}

/// Runs a case on an empty store of `engine`.
async fn run<F, Fut>(engine: Engine, case: F)
where
    F: FnOnce(Metadata) -> Fut,
    Fut: Future<Output = ()>,
{
    let case = |place: Place| async move {
        let metadata = place.open().await;
        case(metadata.clone()).await;
        metadata.close().await;
    };
    engines::run(engine, case).await;
}

fn user(name: &str) -> User {
    User {
        id: UserId::new(),
        name: name.to_owned(),
        handle: Some(name.to_lowercase()),
        email: Some(format!("{name}@example.org")),
        bio: String::new(),
        avatar: None,
        created: NOW,
        updated: NOW,
    }
}

async fn created(metadata: &Metadata, name: &str) -> UserId {
    let user = &user(name);
    let create = |tx| async move { users::create(&tx, user).await };
    metadata.transact("create", create).await.unwrap().unwrap().id
}

fn act(by: UserId, to: UserId) -> Act {
    Act { by, to, now: NOW, history: HISTORY }
}

async fn follow(metadata: &Metadata, by: UserId, to: UserId) -> Followed {
    let follow = |tx| async move { follows::follow(&tx, &act(by, to), 100).await };
    metadata.transact("follow", follow).await.unwrap()
}

async fn counts_of(metadata: &Metadata, user: UserId) -> (u64, u64) {
    let counts = metadata.read("counts", |tx| async move { counts::of(&tx, user).await }).await.unwrap();
    (counts.followers, counts.following)
}

async fn relation(metadata: &Metadata, viewer: UserId, owner: UserId) -> Relation {
    let viewer = Viewer::User(viewer);
    let relation = |tx| async move { visibility::relation(&tx, viewer, owner).await };
    metadata.read("relation", relation).await.unwrap()
}

async fn what_identifies_a_user_is_nobody_elses(metadata: Metadata) {
    let ann = created(&metadata, "Ann").await;
    for (other, taken) in [
        (User { handle: None, email: Some(" ANN@example.ORG ".to_owned()), ..user("Bob") }, Taken::Email),
        (User { handle: Some("ANN".to_owned()), ..user("Bob") }, Taken::Handle),
    ] {
        let other = &other;
        let create = |tx| async move { users::create(&tx, other).await };
        assert_eq!(metadata.transact("create", create).await.unwrap(), Err(taken));
    }
    // Who gives a name up leaves it to others.
    let rename = |tx| async move {
        let rename = |user: &mut User| user.handle = Some("anna".to_owned());
        users::update(&tx, (ann, NOW, HISTORY), rename).await
    };
    metadata.transact("rename", rename).await.unwrap().unwrap().unwrap();
    let bob = &User { handle: Some("ann".to_owned()), ..user("Bob") };
    metadata.transact("create", |tx| async move { users::create(&tx, bob).await }).await.unwrap().unwrap();
    let found = |tx| async move { users::by_handle(&tx, "Anna").await };
    assert_eq!(metadata.read("find", found).await.unwrap(), Some(ann));
}

async fn following_is_counted_once_also_where_a_commit_is_unknown(metadata: Metadata) {
    let (ann, bob) = (created(&metadata, "Ann").await, created(&metadata, "Bob").await);
    let commits = std::sync::atomic::AtomicU32::new(0);
    let faulty = metadata.with_faults(move || {
        let is_first = commits.fetch_add(1, std::sync::atomic::Ordering::Relaxed).is_multiple_of(2);
        if is_first { CommitFault::AnswerLost } else { CommitFault::None }
    });
    assert_eq!(follow(&faulty, ann, bob).await, Followed::New);
    assert_eq!(counts_of(&metadata, bob).await, (1, 0));
    assert_eq!(counts_of(&metadata, ann).await, (0, 1));
    assert_eq!(follow(&metadata, ann, bob).await, Followed::Before);
    assert_eq!(relation(&metadata, ann, bob).await, Relation::Follower);
    assert_eq!(relation(&metadata, bob, ann).await, Relation::Stranger);
    let unfollow = |tx| async move { follows::unfollow(&tx, &act(ann, bob)).await };
    assert!(faulty.transact("unfollow", unfollow).await.unwrap());
    assert!(!metadata.transact("unfollow", unfollow).await.unwrap());
    assert_eq!(counts_of(&metadata, bob).await, (0, 0));
    assert_eq!(follow(&metadata, ann, UserId::new()).await, Followed::Nobody);
}

async fn a_block_ends_following_both_ways_and_an_end_of_it_brings_nothing_back(metadata: Metadata) {
    let (ann, bob) = (created(&metadata, "Ann").await, created(&metadata, "Bob").await);
    follow(&metadata, ann, bob).await;
    follow(&metadata, bob, ann).await;
    let block = |tx| async move { follows::block(&tx, &act(ann, bob)).await };
    assert!(metadata.transact("block", block).await.unwrap());
    for user in [ann, bob] {
        assert_eq!(counts_of(&metadata, user).await, (0, 0));
    }
    assert_eq!(relation(&metadata, ann, bob).await, Relation::Blocked);
    assert_eq!(relation(&metadata, bob, ann).await, Relation::Blocked);
    assert_eq!(follow(&metadata, bob, ann).await, Followed::Nobody);
    let unblock = |tx| async move { follows::unblock(&tx, &act(ann, bob)).await };
    assert!(metadata.transact("unblock", unblock).await.unwrap());
    assert_eq!(relation(&metadata, bob, ann).await, Relation::Stranger);
    assert_eq!(follow(&metadata, bob, ann).await, Followed::New);
}

async fn changes_are_read_in_order_from_any_position(metadata: Metadata) {
    let bob = created(&metadata, "Bob").await;
    let mut followers = Vec::new();
    for number in 0..5 {
        let follower = created(&metadata, &format!("f{number}")).await;
        follow(&metadata, follower, bob).await;
        followers.push(follower);
    }
    let shard = changes::shard_of(bob.0);
    let after = |position, limit| {
        let metadata = metadata.clone();
        async move {
            let read = |tx| async move { changes::after(&tx, shard, position, limit).await };
            metadata.read("changes", read).await.unwrap()
        }
    };
    let all = after(Position::START, 100).await;
    let by: Vec<_> = all
        .iter()
        .map(|(_, change)| match &change.what {
            What::UserFollowed { by, .. } => *by,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(by, followers);
    assert!(all.is_sorted_by_key(|(position, _)| *position));
    assert_eq!(after(all[1].0, 2).await, all[2..4]);
    let last = metadata.read("last", |tx| async move { changes::last(&tx, shard).await }).await.unwrap();
    assert_eq!(last, all[4].0);
}

async fn say(metadata: &Metadata, id: ConversationId, from: UserId, text: &str) -> Option<u64> {
    let message = Message { id: MessageId::new(), from, sent: NOW, text: Some(text.to_owned()) };
    let sending = &Sending { conversation: id, message, history: HISTORY };
    let send = |tx| async move { conversations::send(&tx, sending).await };
    metadata.transact("send", send).await.unwrap()
}

async fn begin(metadata: &Metadata, by: UserId, with: UserId) -> Option<ConversationId> {
    let beginning = &Beginning { id: ConversationId::new(), by, with, now: NOW, history: HISTORY };
    let begin = |tx| async move { conversations::begin(&tx, beginning).await };
    metadata.transact("begin", begin).await.unwrap().map(|(conversation, _)| conversation.id)
}

/// What a user has not read: in each conversation, and in all as it is counted.
async fn unread(metadata: &Metadata, user: UserId) -> (Vec<u64>, u64) {
    let look = |tx| async move {
        let found = conversations::of_user(&tx, user, None, 100).await?;
        let each = found.iter().filter(|(_, conversation)| !conversation.hidden);
        let each = each.map(|(_, conversation)| conversation.unread(user)).collect();
        Ok((each, counts::read(&tx, user, counts::Counted::Unread).await?))
    };
    metadata.read("unread", look).await.unwrap()
}

async fn what_is_unread_is_what_was_said_and_not_read(metadata: Metadata) {
    let faulty = metadata.with_faults({
        let commits = std::sync::atomic::AtomicU32::new(0);
        move || match commits.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 3 {
            0 => CommitFault::AnswerLost,
            1 => CommitFault::CommitLost,
            _ => CommitFault::None,
        }
    });
    let ann = created(&metadata, "Ann").await;
    let (bob, cid) = (created(&metadata, "Bob").await, created(&metadata, "Cid").await);
    let with_bob = begin(&faulty, ann, bob).await.unwrap();
    assert_eq!(begin(&faulty, bob, ann).await, Some(with_bob), "two have one conversation");
    let with_cid = begin(&faulty, cid, ann).await.unwrap();
    for number in 1..=3 {
        assert_eq!(say(&faulty, with_bob, bob, "hello").await, Some(number));
    }
    assert_eq!(say(&faulty, with_cid, cid, "hi").await, Some(1));
    // The one in which something was said last is first.
    assert_eq!(unread(&metadata, ann).await, (vec![1, 3], 4));
    let read = |tx| async move { conversations::read_up_to(&tx, ann, with_bob, 2).await };
    for _ in 0..2 {
        assert_eq!(faulty.transact("read", read).await.unwrap().unwrap().unread(ann), 1);
    }
    assert_eq!(unread(&metadata, ann).await, (vec![1, 1], 2));
    // Who answers has read what was there.
    assert_eq!(say(&faulty, with_bob, ann, "hello yourself").await, Some(4));
    assert_eq!(unread(&metadata, ann).await, (vec![0, 1], 1));
    assert_eq!(unread(&metadata, bob).await, (vec![1], 1));
    assert_eq!(say(&faulty, with_bob, cid, "who is this?").await, None);
    let page = |tx| async move { conversations::messages(&tx, with_bob, Some(4), 2).await };
    let numbers: Vec<_> = metadata.read("messages", page).await.unwrap().iter().map(|(n, _)| *n).collect();
    assert_eq!(numbers, [3, 2]);
}

async fn a_blocked_users_conversation_is_hidden_and_counts_for_neither(metadata: Metadata) {
    let (ann, bob) = (created(&metadata, "Ann").await, created(&metadata, "Bob").await);
    let id = begin(&metadata, ann, bob).await.unwrap();
    say(&metadata, id, ann, "hello").await.unwrap();
    let block = |tx| async move { follows::block(&tx, &act(bob, ann)).await };
    metadata.transact("block", block).await.unwrap();
    assert_eq!(unread(&metadata, bob).await, (vec![], 0));
    assert_eq!(say(&metadata, id, ann, "are you there?").await, None);
    assert_eq!(begin(&metadata, ann, bob).await, None);
    let back = |tx| async move { follows::block(&tx, &act(ann, bob)).await };
    metadata.transact("block", back).await.unwrap();
    let unblock = |tx| async move { follows::unblock(&tx, &act(bob, ann)).await };
    metadata.transact("unblock", unblock).await.unwrap();
    assert_eq!(unread(&metadata, bob).await, (vec![], 0), "the other still blocks");
    let unblock = |tx| async move { follows::unblock(&tx, &act(ann, bob)).await };
    metadata.transact("unblock", unblock).await.unwrap();
    assert_eq!(unread(&metadata, bob).await, (vec![1], 1));
    // What is erased is gone from both, and no longer counted.
    for number in 2..=5 {
        assert_eq!(say(&metadata, id, ann, "hello again").await, Some(number));
    }
    let mut steps = 1;
    while !metadata
        .transact("erase", |tx| async move { conversations::erase(&tx, id, 2).await })
        .await
        .unwrap()
    {
        steps += 1;
    }
    assert_eq!(steps, 3);
    assert_eq!(unread(&metadata, bob).await, (vec![], 0));
    let all = metadata.read("rows", |tx| async move {
        let mut rows = 0;
        for subspace in
            [CONVERSATIONS, CONVERSATIONS_BY_PAIR, CONVERSATIONS_BY_USER, MESSAGES, MESSAGES_BY_ID]
        {
            rows += tx.get_range(&subspace.all(), RangeOptions::default()).await?.len();
        }
        Ok(rows)
    });
    assert_eq!(all.await.unwrap(), 0);
}
