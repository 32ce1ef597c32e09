//! Who may see a photo, what its owner says of it, and albums, over a real engine: also when transactions run twice.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it skips"
)]
#![allow(clippy::expect_used, reason = "only some engines need it")]

use std::sync::atomic::{AtomicU32, Ordering};

use darkroom_store::metadata::{CommitFault, Metadata, RangeOptions};
use darkroom_store::model::albums::{self, Album};
use darkroom_store::model::changes::{self, What};
use darkroom_store::model::follows::{self, Act};
use darkroom_store::model::jobs::Lease;
use darkroom_store::model::photos::{self, Created, Edited, Editing, Fields, Made, Photo, Settling, State};
use darkroom_store::model::posts::{self, Post};
use darkroom_store::model::subspaces::{ALBUM_PHOTOS, ALBUMS_ENDING, PHOTO_DOWNLOADS};
use darkroom_store::model::users::{self, User};
use darkroom_store::model::visibility::{self, PhotoVisibility, Relation, Viewer, Visibility};
use darkroom_store::model::{
    AlbumId, Epoch, LeaseId, OwnerId, PhotoId, Position, PostId, Timestamp, UserId, objects,
};

#[macro_use]
mod engines;
mod fixtures;

use engines::{Engine, Place};

const EPOCH: Epoch = Epoch(1);
const NOW: Timestamp = Timestamp(1_000_000);
const HISTORY: u64 = 0;

cases! { crate::run:
    who_may_see_a_photo_is_as_the_table_says,
    a_narrowed_photo_is_hidden_in_its_posts_at_once,
    an_edit_is_written_once_and_by_the_owner_alone,
    an_album_counts_its_photos_exactly,
    a_deleted_album_leaves_its_photos_and_then_no_rows,
    an_album_is_seen_by_whom_it_is_for,
    downloads_are_counted_of_photos_that_are_there,
}

async fn run<F, Fut>(engine: Engine, case: F)
where
    F: FnOnce(Metadata) -> Fut,
    Fut: Future<Output = ()>,
{
    let opened = |place: Place| async move {
        let metadata = place.open().await;
        case(metadata.clone()).await;
        metadata.close().await;
    };
    engines::run(engine, opened).await;
}

/// Runs `$body` in a transaction with `$tx`.
macro_rules! tx {
    ($metadata:expr, |$tx:ident| $body:expr) => {
        $metadata.transact("test", |$tx| async move { $body }).await.unwrap()
    };
}

/// Loses the answer to every other commit.
fn faulty(metadata: &Metadata) -> Metadata {
    let commits = AtomicU32::new(0);
    metadata.with_faults(move || {
        let is_lost = commits.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        if is_lost { CommitFault::AnswerLost } else { CommitFault::None }
    })
}

async fn user(metadata: &Metadata, name: &str) -> UserId {
    let user = &User { id: UserId::new(), name: name.to_owned(), created: NOW, updated: NOW, ..User::open() };
    tx!(metadata, |tx| users::create(&tx, user).await).unwrap().id
}

fn act(by: UserId, to: UserId) -> Act {
    Act { by, to, now: NOW, history: HISTORY }
}

/// A photo of `owner` in state `processing`, and the job by which it is settled.
async fn processing(metadata: &Metadata, owner: UserId, fields: Fields) -> (Photo, Settling) {
    let mut creation = fixtures::creation(PhotoId::new().to_string().as_bytes(), EPOCH, NOW);
    let lease = Lease { id: LeaseId::new(), epoch: EPOCH };
    creation.photo = fields.of(Photo { owner: OwnerId::of(owner), ..creation.photo });
    creation.job = creation.job.leased(lease, NOW.after(std::time::Duration::from_secs(60)));
    let (creation, keys) = (&creation, &[creation.photo.original.object.clone()]);
    tx!(metadata, |tx| objects::intend(&tx, EPOCH, keys));
    let Created::New(photo) = tx!(metadata, |tx| photos::create(&tx, creation).await) else {
        panic!("it is new")
    };
    let by = Settling { photo: photo.id, job: creation.job.id, lease, now: NOW, history: HISTORY };
    (photo, by)
}

async fn in_state(metadata: &Metadata, owner: UserId, fields: Fields, state: State) -> PhotoId {
    let (photo, by) = processing(metadata, owner, fields).await;
    let failure = &photos::Failure { code: "corrupt-image".to_owned(), detail: "it is".to_owned() };
    match state {
        State::Processing => {}
        State::Ready => {
            tx!(metadata, |tx| photos::publish(&tx, &by, &Made::default()).await);
        }
        State::Failed => {
            tx!(metadata, |tx| photos::fail(&tx, &by, failure, &[]).await);
        }
    }
    photo.id
}

async fn ready(metadata: &Metadata, owner: UserId, fields: Fields) -> PhotoId {
    in_state(metadata, owner, fields, State::Ready).await
}

fn visible(visibility: PhotoVisibility) -> Fields {
    Fields { visibility, ..Fields::default() }
}

async fn photo(metadata: &Metadata, id: PhotoId) -> Option<Photo> {
    tx!(metadata, |tx| photos::get(&tx, id).await)
}

async fn post(metadata: &Metadata, author: UserId, photo: PhotoId, visibility: Visibility) -> posts::Created {
    let post = Post {
        id: PostId::new(),
        author,
        state: posts::State::Waiting,
        visibility,
        photos: vec![photo],
        shared: None,
        caption: String::new(),
        tags: Vec::new(),
        mentions: Vec::new(),
        was_shown: false,
        created: NOW,
        published: None,
        edited: None,
    };
    let creation = &posts::Creation { post, history: HISTORY };
    tx!(metadata, |tx| posts::create(&tx, creation).await)
}

async fn sees(metadata: &Metadata, viewer: Viewer, id: PhotoId) -> bool {
    let look = |tx| async move {
        let photo = photos::get(&tx, id).await?.unwrap();
        visibility::may_see_photo(&tx, viewer, &photo).await
    };
    metadata.read("look", look).await.unwrap()
}

/// Everybody who may look, with how they stand to the owner.
struct Viewers {
    owner: UserId,
    all: Vec<(Relation, Viewer)>,
}

impl Viewers {
    async fn new(metadata: &Metadata) -> Self {
        let owner = user(metadata, "owner").await;
        let mut all = vec![(Relation::Owner, Viewer::User(owner)), (Relation::SignedOut, Viewer::SignedOut)];
        let (follower, stranger) = (user(metadata, "follower").await, user(metadata, "stranger").await);
        let (blocked, blocking) = (user(metadata, "blocked").await, user(metadata, "blocking").await);
        for by in [follower, blocked] {
            tx!(metadata, |tx| follows::follow(&tx, &act(by, owner), 10).await);
        }
        tx!(metadata, |tx| follows::block(&tx, &act(owner, blocked)).await);
        tx!(metadata, |tx| follows::block(&tx, &act(blocking, owner)).await);
        all.extend([
            (Relation::Follower, Viewer::User(follower)),
            (Relation::Stranger, Viewer::User(stranger)),
            (Relation::Blocked, Viewer::User(blocked)),
            (Relation::Blocked, Viewer::User(blocking)),
        ]);
        Self { owner, all }
    }
}

async fn who_may_see_a_photo_is_as_the_table_says(metadata: Metadata) {
    use PhotoVisibility as P;
    use Relation::{Blocked, Follower, Owner, SignedOut, Stranger};
    use Visibility as V;
    const NOBODY: &[Relation] = &[Owner];
    const FOLLOWERS: &[Relation] = &[Owner, Follower];
    const ALL: &[Relation] = &[Owner, Follower, Stranger, SignedOut];
    let viewers = Viewers::new(&metadata).await;
    // The photo's own, the post that shows it, if one may, and who sees the photo once it is ready.
    let table: [(P, Option<V>, &[Relation]); 13] = [
        (P::Inherit, None, NOBODY),
        (P::Inherit, Some(V::Private), NOBODY),
        (P::Inherit, Some(V::Followers), FOLLOWERS),
        (P::Inherit, Some(V::Public), ALL),
        (P::Private, None, NOBODY),
        (P::Private, Some(V::Private), NOBODY),
        (P::Followers, None, FOLLOWERS),
        (P::Followers, Some(V::Private), FOLLOWERS),
        (P::Followers, Some(V::Followers), FOLLOWERS),
        (P::Public, None, ALL),
        (P::Public, Some(V::Private), ALL),
        (P::Public, Some(V::Followers), ALL),
        (P::Public, Some(V::Public), ALL),
    ];
    let mut cells = 0;
    for (own, shown, admitted) in table {
        for state in State::ALL {
            let id = in_state(&metadata, viewers.owner, visible(own), state).await;
            if let Some(shown) = shown {
                let made = post(&metadata, viewers.owner, id, shown).await;
                assert!(matches!(made, posts::Created::New(_)), "{own:?} in {shown:?}: {made:?}");
            }
            for (relation, viewer) in &viewers.all {
                let may = *relation == Owner || (state == State::Ready && admitted.contains(relation));
                let does = sees(&metadata, *viewer, id).await;
                assert_eq!(does, may, "{own:?}, in a post {shown:?}, {state:?}, {relation:?}");
                assert!(*relation != Blocked || !does);
                cells += 1;
            }
        }
    }
    assert_eq!(cells, 13 * 3 * 6);
    // What is left of visibility times post's: a post that is wider than its photo is not made.
    for (own, shown) in [(P::Private, V::Followers), (P::Private, V::Public), (P::Followers, V::Public)] {
        let id = ready(&metadata, viewers.owner, visible(own)).await;
        assert_eq!(post(&metadata, viewers.owner, id, shown).await, posts::Created::Wider(id));
    }
}

async fn a_narrowed_photo_is_hidden_in_its_posts_at_once(metadata: Metadata) {
    let owner = user(&metadata, "owner").await;
    let id = ready(&metadata, owner, visible(PhotoVisibility::Inherit)).await;
    post(&metadata, owner, id, Visibility::Public).await;
    assert!(sees(&metadata, Viewer::SignedOut, id).await);
    for (visibility, is_seen) in [
        (PhotoVisibility::Followers, false),
        (PhotoVisibility::Public, true),
        (PhotoVisibility::Private, false),
        (PhotoVisibility::Inherit, true),
    ] {
        edit(&metadata, owner, id, move |fields| fields.visibility = visibility).await;
        assert_eq!(sees(&metadata, Viewer::SignedOut, id).await, is_seen, "{visibility:?}");
    }
}

async fn edit(
    metadata: &Metadata,
    owner: UserId,
    photo: PhotoId,
    change: impl Fn(&mut Fields) + Copy + Send + Sync,
) -> Edited {
    let editing = &Editing { photo, owner: OwnerId::of(owner), now: Timestamp(NOW.0 + 1), history: HISTORY };
    tx!(metadata, |tx| photos::edit(&tx, editing, change).await)
}

async fn changes_of(metadata: &Metadata, photo: PhotoId) -> Vec<What> {
    let shard = changes::shard_of(photo.0);
    let all = tx!(metadata, |tx| changes::after(&tx, shard, Position::START, 1000).await);
    let of_photo = all.into_iter().filter(|(_, change)| change.what.subject() == photo.0);
    of_photo.map(|(_, change)| change.what).collect()
}

async fn an_edit_is_written_once_and_by_the_owner_alone(metadata: Metadata) {
    let (owner, other) = (user(&metadata, "owner").await, user(&metadata, "other").await);
    let id = ready(&metadata, owner, Fields::default()).await;
    let rename = |fields: &mut Fields| fields.title = Some("Sea".to_owned());
    assert!(matches!(edit(&metadata, other, id, rename).await, Edited::NoPhoto));
    let before = changes_of(&metadata, id).await.len();
    let faulty = faulty(&metadata);
    let Edited::Done(edited) = edit(&faulty, owner, id, rename).await else { panic!("it is theirs") };
    assert_eq!((edited.title.as_deref(), edited.updated), (Some("Sea"), Timestamp(NOW.0 + 1)));
    assert_eq!(photo(&metadata, id).await.unwrap(), edited);
    edit(&metadata, owner, id, rename).await;
    let news = changes_of(&metadata, id).await.split_off(before);
    assert_eq!(
        news,
        [What::PhotoChanged { photo: id, owner: OwnerId::of(owner) }],
        "one change is told once"
    );
    let gone = AlbumId::new();
    let into_gone = move |fields: &mut Fields| fields.album = Some(gone);
    assert!(matches!(edit(&metadata, owner, id, into_gone).await, Edited::NoAlbum(album) if album == gone));
    assert!(matches!(edit(&metadata, owner, PhotoId::new(), rename).await, Edited::NoPhoto));
}

async fn album(metadata: &Metadata, owner: UserId, visibility: Visibility) -> AlbumId {
    let id = AlbumId::new();
    let album = &Album { id, owner, title: "Sea".to_owned(), visibility, created: NOW, updated: NOW };
    for _ in 0..2 {
        let created = tx!(metadata, |tx| albums::create(&tx, album, 2).await);
        assert_eq!(created, albums::Created::Done(album.clone()), "twice is once");
    }
    id
}

/// The photos in an album, which are as many as are counted.
async fn photos_in(metadata: &Metadata, album: AlbumId) -> Vec<PhotoId> {
    let listed = tx!(metadata, |tx| albums::photos(&tx, album, None, 100).await);
    let counted = tx!(metadata, |tx| albums::photos_count(&tx, album).await);
    assert_eq!(counted, listed.len() as u64);
    listed
}

async fn an_album_counts_its_photos_exactly(metadata: Metadata) {
    let (owner, other) = (user(&metadata, "owner").await, user(&metadata, "other").await);
    let sea = album(&metadata, owner, Visibility::Private).await;
    let faulty = faulty(&metadata);
    let into = |album| move |fields: &mut Fields| fields.album = album;
    // With the upload, and later.
    let first = ready(&metadata, owner, Fields { album: Some(sea), ..Fields::default() }).await;
    let second = ready(&metadata, owner, Fields::default()).await;
    for _ in 0..2 {
        edit(&faulty, owner, second, into(Some(sea))).await;
    }
    assert_eq!(photos_in(&metadata, sea).await, [second, first], "the newest first");
    let rest = tx!(metadata, |tx| albums::photos(&tx, sea, Some(second), 100).await);
    assert_eq!(rest, [first]);
    // Of one album into another.
    let sun = album(&metadata, owner, Visibility::Private).await;
    edit(&faulty, owner, second, into(Some(sun))).await;
    assert_eq!(
        (photos_in(&metadata, sea).await, photos_in(&metadata, sun).await),
        (vec![first], vec![second])
    );
    edit(&faulty, owner, second, into(None)).await;
    assert!(photos_in(&metadata, sun).await.is_empty());
    // A photo that is deleted leaves it; a photo of somebody else's is not in it.
    tx!(faulty, |tx| photos::delete_of(&tx, (first, &OwnerId::of(owner)), NOW, HISTORY).await);
    assert!(photos_in(&metadata, sea).await.is_empty());
    let theirs = ready(&metadata, other, Fields { album: Some(sea), ..Fields::default() }).await;
    assert_eq!(photo(&metadata, theirs).await.unwrap().album, None, "as one that is gone");
    assert!(matches!(edit(&metadata, other, theirs, into(Some(sea))).await, Edited::NoAlbum(_)));
    assert!(photos_in(&metadata, sea).await.is_empty());
    let third = &Album {
        id: AlbumId::new(),
        owner,
        title: "one more".to_owned(),
        visibility: Visibility::Private,
        created: NOW,
        updated: NOW,
    };
    assert_eq!(tx!(metadata, |tx| albums::create(&tx, third, 2).await), albums::Created::TooMany);
    let listed = tx!(metadata, |tx| albums::list(&tx, owner, None, 10).await);
    assert_eq!(listed.iter().map(|album| album.id).collect::<Vec<_>>(), [sun, sea]);
    let owner_of_photo = photo(&metadata, second).await.unwrap().owner;
    let deleted =
        tx!(metadata, |tx| photos::delete_of(&tx, (second, &OwnerId::of(other)), NOW, HISTORY).await);
    assert!(!deleted && owner_of_photo == OwnerId::of(owner), "a photo of somebody else's is none");
}

async fn rows(metadata: &Metadata, album: AlbumId) -> (usize, usize) {
    tx!(metadata, |tx| {
        let rows = tx.get_range(&ALBUM_PHOTOS.range(&(album.0,)), RangeOptions::default()).await?.len();
        Ok((rows, tx.get_range(&ALBUMS_ENDING.all(), RangeOptions::default()).await?.len()))
    })
}

async fn a_deleted_album_leaves_its_photos_and_then_no_rows(metadata: Metadata) {
    let (owner, other) = (user(&metadata, "owner").await, user(&metadata, "other").await);
    let (mine, faulty) = (&OwnerId::of(owner), faulty(&metadata));
    let sea = album(&metadata, owner, Visibility::Private).await;
    let mut photos_there = Vec::new();
    for _ in 0..5 {
        photos_there.push(ready(&metadata, owner, Fields { album: Some(sea), ..Fields::default() }).await);
    }
    assert!(!tx!(metadata, |tx| albums::delete(&tx, sea, &OwnerId::of(other)).await));
    assert!(tx!(faulty, |tx| albums::delete(&tx, sea, mine).await));
    assert!(!tx!(metadata, |tx| albums::delete(&tx, sea, mine).await), "it is gone");
    assert!(tx!(metadata, |tx| albums::get(&tx, sea).await).is_none());
    // A photo may be taken out, put into another, or deleted, while the rows are there.
    edit(&metadata, owner, photos_there[0], |fields| fields.album = None).await;
    let second = photos_there[1];
    assert!(tx!(metadata, |tx| photos::delete(&tx, second, NOW, HISTORY).await));
    assert_eq!(rows(&metadata, sea).await, (3, 1));
    assert_eq!(tx!(metadata, |tx| albums::photos_count(&tx, sea).await), 0, "no counter comes back");
    assert!(tx!(metadata, |tx| albums::clear_ended(&tx, 2).await));
    assert_eq!(rows(&metadata, sea).await, (1, 1), "in bounded steps");
    while tx!(faulty, |tx| albums::clear_ended(&tx, 2).await) {}
    assert_eq!(rows(&metadata, sea).await, (0, 0));
    for id in &photos_there[2..] {
        assert!(photo(&metadata, *id).await.is_some());
    }
}

async fn an_album_is_seen_by_whom_it_is_for(metadata: Metadata) {
    let viewers = Viewers::new(&metadata).await;
    let (id, owner) =
        (album(&metadata, viewers.owner, Visibility::Private).await, &OwnerId::of(viewers.owner));
    for visibility in Visibility::ALL {
        let apply = move |album: &mut Album| album.visibility = visibility;
        tx!(metadata, |tx| albums::edit(&tx, (id, owner, NOW), apply).await);
        for (relation, viewer) in &viewers.all {
            let viewer = *viewer;
            let seen = tx!(metadata, |tx| albums::seen(&tx, viewer, id).await).is_some();
            assert_eq!(seen, visibility.admits(*relation), "{visibility:?}, {relation:?}");
        }
    }
}

async fn downloads_are_counted_of_photos_that_are_there(metadata: Metadata) {
    let owner = user(&metadata, "owner").await;
    let (here, gone) = (ready(&metadata, owner, Fields::default()).await, PhotoId::new());
    for _ in 0..2 {
        tx!(metadata, |tx| photos::downloaded(&tx, &[(here, 3), (gone, 1)]).await);
    }
    assert_eq!(tx!(metadata, |tx| photos::downloads(&tx, here).await), 6);
    tx!(metadata, |tx| photos::delete(&tx, here, NOW, HISTORY).await);
    let left = tx!(metadata, |tx| tx.get_range(&PHOTO_DOWNLOADS.all(), RangeOptions::default()).await);
    assert!(left.is_empty(), "{left:?}");
}
