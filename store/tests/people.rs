//! People and what they publish, over a real engine: what each transaction promises, also when it runs twice.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it skips"
)]

use darkroom_store::metadata::{CommitFault, Metadata};
use darkroom_store::model::changes::{self, What};
use darkroom_store::model::follows::{self, Act, Followed};
use darkroom_store::model::users::{self, Taken, User, counts};
use darkroom_store::model::visibility::{self, Relation, Viewer};
use darkroom_store::model::{Position, Timestamp, UserId};

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
