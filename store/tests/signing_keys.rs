//! Keys that sign, and users of identity providers, over a real engine: what each transaction promises, also when it runs
//! twice or at once with another.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it skips"
)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use darkroom_store::metadata::{CommitFault, Metadata};
use darkroom_store::model::signing_keys::{
    self, FreshKey, KEYS_MAX, KeySecret, Purpose, Rotated, Rotation, SigningKey,
};
use darkroom_store::model::users::{self, User};
use darkroom_store::model::{Timestamp, UserId};

#[macro_use]
mod engines;

use engines::{Engine, Place};

const NOW: Timestamp = Timestamp(1_000_000);
const OVERLAP: Duration = Duration::from_secs(3600);
const LONGEST: Duration = Duration::from_secs(960);

cases! { crate::run:
    nodes_that_start_at_once_end_with_one_key,
    each_purpose_has_keys_of_its_own,
    a_rotation_overlaps_and_is_made_once_also_where_a_commit_is_unknown,
    while_a_key_waits_to_sign_no_other_is_made,
    a_key_that_others_know_ends_at_once,
    keys_end_in_number_and_are_forgotten_when_they_verify_no_more,
    no_debug_output_shows_a_secret,
    a_providers_user_appears_once,
    a_provider_takes_over_nobodys_address,
    a_subject_that_was_forgotten_leads_to_nobody,
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

fn fresh(id: &str, purpose: Purpose) -> FreshKey {
    FreshKey { id: id.to_owned(), purpose, secret: KeySecret::new(id.repeat(8).as_bytes()) }
}

fn at(now: Timestamp) -> Rotation {
    Rotation { now, overlap: OVERLAP, longest: LONGEST }
}

async fn ensured(metadata: &Metadata, fresh: &FreshKey) -> SigningKey {
    let ensure = |tx| async move { signing_keys::ensure(&tx, fresh, NOW).await };
    metadata.transact("ensure", ensure).await.unwrap()
}

async fn rotated(metadata: &Metadata, fresh: &FreshKey, how: Rotation) -> Rotated {
    let rotate = |tx| async move { signing_keys::rotate(&tx, fresh, how).await };
    metadata.transact("rotate", rotate).await.unwrap()
}

async fn all(metadata: &Metadata) -> Vec<SigningKey> {
    metadata.read("all", |tx| async move { signing_keys::all(&tx).await }).await.unwrap()
}

/// A handle whose every second commit is made and not heard of.
fn faulty(metadata: &Metadata) -> Metadata {
    let commits = AtomicU32::new(0);
    metadata.with_faults(move || {
        let is_first = commits.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        if is_first { CommitFault::AnswerLost } else { CommitFault::None }
    })
}

async fn nodes_that_start_at_once_end_with_one_key(metadata: Metadata) {
    let starts = (0..8).map(|node| {
        let metadata = metadata.clone();
        tokio::spawn(async move { ensured(&metadata, &fresh(&format!("k{node}"), Purpose::Tokens)).await })
    });
    let mut found = Vec::new();
    for start in starts.collect::<Vec<_>>() {
        found.push(start.await.unwrap());
    }
    let keys = all(&metadata).await;
    assert_eq!(keys.len(), 1);
    assert!(found.iter().all(|key| *key == keys[0]), "{found:?}");
    assert!(keys[0].signs_at(NOW) && keys[0].verifies_at(Timestamp(u64::MAX)));
}

async fn each_purpose_has_keys_of_its_own(metadata: Metadata) {
    let tokens = ensured(&faulty(&metadata), &fresh("t", Purpose::Tokens)).await;
    let links = ensured(&faulty(&metadata), &fresh("l", Purpose::Links)).await;
    assert_eq!((tokens.id.as_str(), links.id.as_str()), ("t", "l"));
    assert!(matches!(rotated(&metadata, &fresh("t2", Purpose::Tokens), at(NOW)).await, Rotated::Done(_)));
    let keys = all(&metadata).await;
    let links = keys.iter().find(|key| key.purpose == Purpose::Links).unwrap();
    assert_eq!((links.signs_until, links.verifies_until), (None, None));
    assert_eq!(links.secret, fresh("l", Purpose::Links).secret);
}

async fn a_rotation_overlaps_and_is_made_once_also_where_a_commit_is_unknown(metadata: Metadata) {
    ensured(&metadata, &fresh("old", Purpose::Tokens)).await;
    let new = fresh("new", Purpose::Tokens);
    let Rotated::Done(new) = rotated(&faulty(&metadata), &new, at(NOW)).await else { panic!("not done") };
    let keys = all(&metadata).await;
    assert_eq!(keys.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(), ["old", "new"]);
    let (old, change) = (&keys[0], NOW.after(OVERLAP));
    assert_eq!(keys[1], new);
    // At every moment one of them signs, and both verify what may still be around.
    let before = Timestamp(change.0 - 1);
    assert!(old.signs_at(before) && !new.signs_at(before) && new.verifies_at(NOW));
    assert!(!old.signs_at(change) && new.signs_at(change));
    let end = change.after(LONGEST);
    assert!(old.verifies_at(Timestamp(end.0 - 1)) && !old.verifies_at(end));
}

async fn while_a_key_waits_to_sign_no_other_is_made(metadata: Metadata) {
    ensured(&metadata, &fresh("a", Purpose::Links)).await;
    rotated(&metadata, &fresh("b", Purpose::Links), at(NOW)).await;
    let early = rotated(&metadata, &fresh("c", Purpose::Links), at(Timestamp(NOW.0 + 1))).await;
    assert!(matches!(&early, Rotated::Waits(key) if key.id == "b"), "{early:?}");
    let later = rotated(&metadata, &fresh("c", Purpose::Links), at(NOW.after(OVERLAP))).await;
    assert!(matches!(&later, Rotated::Done(key) if key.id == "c"), "{later:?}");
}

async fn a_key_that_others_know_ends_at_once(metadata: Metadata) {
    ensured(&metadata, &fresh("a", Purpose::Tokens)).await;
    rotated(&metadata, &fresh("b", Purpose::Tokens), at(NOW)).await;
    ensured(&metadata, &fresh("l", Purpose::Links)).await;
    let new = &fresh("c", Purpose::Tokens);
    let now = Timestamp(NOW.0 + 5);
    let replace = |tx| async move { signing_keys::replace(&tx, new, now).await };
    let new = faulty(&metadata).transact("replace", replace).await.unwrap();
    for key in all(&metadata).await {
        let should_sign = key == new || key.purpose == Purpose::Links;
        assert_eq!((key.signs_at(now), key.verifies_at(now)), (should_sign, should_sign), "{key:?}");
    }
    // The one that waited never signs.
    let later = now.after(OVERLAP * 2);
    let signing = all(&metadata).await.into_iter().filter(|key| key.signs_at(later));
    assert_eq!(signing.map(|key| key.id).collect::<Vec<_>>(), ["l", "c"]);
}

async fn keys_end_in_number_and_are_forgotten_when_they_verify_no_more(metadata: Metadata) {
    ensured(&metadata, &fresh("k0", Purpose::Links)).await;
    let forever =
        |now| Rotation { now, overlap: Duration::from_secs(1), longest: Duration::from_secs(1_000_000) };
    let mut now = NOW;
    for number in 1..KEYS_MAX {
        let rotated = rotated(&metadata, &fresh(&format!("k{number}"), Purpose::Links), forever(now)).await;
        assert!(matches!(rotated, Rotated::Done(_)), "{number}: {rotated:?}");
        now = now.after(Duration::from_secs(1));
    }
    let too_many = rotated(&metadata, &fresh("more", Purpose::Links), forever(now)).await;
    let Rotated::TooMany(Some(ends)) = too_many else { panic!("{too_many:?}") };
    assert_eq!(ends, all(&metadata).await[0].verifies_until.unwrap());
    let prune = |at| {
        let metadata = faulty(&metadata);
        async move {
            metadata.transact("prune", |tx| async move { signing_keys::prune(&tx, at).await }).await.unwrap()
        }
    };
    prune(Timestamp(ends.0 - 1)).await;
    assert_eq!(all(&metadata).await.len(), KEYS_MAX);
    prune(ends).await;
    assert_eq!(all(&metadata).await.len(), KEYS_MAX - 1);
    assert!(matches!(
        rotated(&metadata, &fresh("more", Purpose::Links), forever(now)).await,
        Rotated::Done(_)
    ));
}

async fn no_debug_output_shows_a_secret(metadata: Metadata) {
    let fresh = fresh("hunter2", Purpose::Links);
    let fresh = FreshKey { id: "id".to_owned(), ..fresh };
    let key = ensured(&metadata, &fresh).await;
    assert_eq!(key.secret.expose(), "hunter2".repeat(8).as_bytes());
    let shown = format!("{fresh:?} {key:?} {:?}", Rotated::Done(key.clone()));
    // Neither as text, nor as the list of its bytes.
    assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
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

async fn of_subject(metadata: &Metadata, named: (&str, &str), fresh: &User) -> User {
    let find = |tx| async move { users::of_subject(&tx, named, fresh).await };
    metadata.transact("of_subject", find).await.unwrap()
}

async fn a_providers_user_appears_once(metadata: Metadata) {
    let first = of_subject(&faulty(&metadata), ("https://a.example", "7"), &user("Ann")).await;
    assert_eq!(first.email.as_deref(), Some("Ann@example.org"));
    let again = of_subject(&metadata, ("https://a.example", "7"), &user("Ann")).await;
    assert_eq!(again, first);
    // The same subject of another provider is somebody else.
    let other = of_subject(&metadata, ("https://b.example", "7"), &user("Bob")).await;
    assert_ne!(other.id, first.id);
    let at_once = (0..8).map(|_| {
        let metadata = metadata.clone();
        tokio::spawn(async move { of_subject(&metadata, ("https://a.example", "8"), &user("Cas")).await.id })
    });
    let mut ids = Vec::new();
    for id in at_once.collect::<Vec<_>>() {
        ids.push(id.await.unwrap());
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

async fn a_provider_takes_over_nobodys_address(metadata: Metadata) {
    let ann = &user("Ann");
    metadata.transact("create", |tx| async move { users::create(&tx, ann).await }).await.unwrap().unwrap();
    let other = of_subject(&faulty(&metadata), ("https://a.example", "7"), &user("Ann")).await;
    assert_ne!(other.id, ann.id);
    assert_eq!((other.name.as_str(), other.email, other.handle), ("Ann", None, None));
    let owner = |tx| async move { users::by_email(&tx, "ann@example.org").await };
    assert_eq!(metadata.read("owner", owner).await.unwrap(), Some(ann.id));
}

async fn a_subject_that_was_forgotten_leads_to_nobody(metadata: Metadata) {
    let first = of_subject(&metadata, ("https://a.example", "7"), &user("Ann")).await;
    let forget = |tx| async move { users::forget_subject(&tx, first.id).await };
    assert!(metadata.transact("forget", forget).await.unwrap());
    assert!(!metadata.transact("forget", forget).await.unwrap());
    let next = of_subject(&metadata, ("https://a.example", "7"), &user("Ben")).await;
    assert_ne!(next.id, first.id);
    // Who was forgotten takes nobody else's row along.
    assert!(!metadata.transact("forget", forget).await.unwrap());
    assert_eq!(of_subject(&metadata, ("https://a.example", "7"), &user("Cas")).await.id, next.id);
}
