//! Resumable uploads over a real engine: offsets that never go back, whoever comes in between and however often a
//! transaction runs.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it skips"
)]

use std::time::Duration;

use darkroom_store::metadata::Metadata;
use darkroom_store::model::jobs::Lease;
use darkroom_store::model::photos::{self, Created, Creation, Seen};
use darkroom_store::model::uploads::{
    self, Append, Appended, End, Ended, Ending, Join, Joined, Kind, Limits, NotBegun, OverLimit, Piece,
    State, Swept, Taken, Upload, Usage, Wishes,
};
use darkroom_store::model::{ContentHash, Epoch, LeaseId, OwnerId, Timestamp, UploadId, objects};
use darkroom_store::objects::{ObjectKey, ObjectKind};

#[macro_use]
mod engines;
mod fixtures;

use engines::{Engine, Place};

cases! { crate::run:
    an_append_that_runs_twice_is_done_once,
    who_comes_later_takes_the_lease_over,
    nothing_is_added_elsewhere_or_to_what_has_ended,
    a_piece_whose_intent_is_gone_is_not_added,
    small_pieces_are_folded_into_one_and_buried,
    the_photo_and_the_uploads_end_are_one_transaction,
    an_upload_becomes_one_photo_whoever_finishes_it,
    parts_are_joined_without_a_copy_and_once,
    limits_count_what_is_open,
    what_is_reserved_comes_back_and_holds_up_nobody_who_has_begun,
    who_was_overtaken_ends_nothing,
    what_was_announced_is_found_until_it_ends,
    what_has_expired_goes_with_its_pieces,
    what_is_due_is_listed_behind_what_cannot_be_swept,
}

const EPOCH: Epoch = Epoch(1);
const NOW: Timestamp = Timestamp(1_000_000);
const DAY: Duration = Duration::from_secs(24 * 3600);
const LIMITS: Limits =
    Limits { open_max: 10, open_per_owner_max: 5, bytes_max: 1000, bytes_per_owner_max: 800 };

async fn run<F, Fut>(engine: Engine, case: F)
where
    F: FnOnce(Store) -> Fut,
    Fut: Future<Output = ()>,
{
    let opened = |place: Place| async move { case(Store { metadata: place.open().await }).await };
    engines::run(engine, opened).await;
}

struct Store {
    metadata: Metadata,
}

/// Runs `$body` in a transaction with `$tx`.
macro_rules! tx {
    ($store:expr, |$tx:ident| $body:expr) => {
        $store.metadata.transact("test", |$tx| async move { $body }).await.unwrap()
    };
}

fn new(kind: Kind, length: Option<u64>) -> Upload {
    let expires = NOW.after(DAY);
    Upload {
        id: UploadId::new(),
        owner: OwnerId::open(),
        kind,
        state: State::Open,
        length,
        offset: 0,
        reserved: length.unwrap_or(100),
        pieces: 0,
        recognized: false,
        wishes: Wishes::default(),
        created: NOW,
        updated: NOW,
        expires,
        look: expires,
        lease: None,
        released_by: None,
    }
}

fn lease() -> Lease {
    Lease { id: LeaseId::new(), epoch: EPOCH }
}

impl Store {
    async fn create(&self, upload: &Upload) {
        tx!(self, |tx| uploads::create(&tx, upload, &LIMITS, None).await).unwrap();
    }

    async fn get(&self, id: UploadId) -> Option<Upload> {
        tx!(self, |tx| uploads::get(&tx, id).await)
    }

    async fn take(&self, id: UploadId, offset: u64, lease: Lease) -> Taken {
        let owner = &OwnerId::open();
        tx!(self, |tx| uploads::take(&tx, (id, owner), (offset, lease), 80).await)
    }

    /// A piece whose intent is durable.
    async fn piece(&self, start: u64, bytes: u64) -> Piece {
        let object = ObjectKey::new(ObjectKind::Upload);
        let keys = std::slice::from_ref(&object);
        tx!(self, |tx| objects::intend(&tx, EPOCH, keys));
        Piece { start, bytes, hash: ContentHash::of(b"piece"), object }
    }

    async fn append(&self, by: &Append<'_>) -> Appended {
        tx!(self, |tx| uploads::append(&tx, by).await)
    }

    /// An upload of `kind` with these pieces, and all that it has to have.
    async fn whole(&self, kind: Kind, sizes: &[u64]) -> Upload {
        let upload = new(kind, Some(sizes.iter().sum()));
        self.create(&upload).await;
        let mut at = 0;
        for bytes in sizes {
            let lease = lease();
            assert!(matches!(self.take(upload.id, at, lease).await, Taken::Held(..)));
            let piece = self.piece(at, *bytes).await;
            at += bytes;
            let complete = upload.length == Some(at);
            self.append(&Append { complete, ..adding(&upload, lease, &[piece]) }).await;
        }
        self.get(upload.id).await.unwrap()
    }

    async fn pieces(&self, id: UploadId) -> Vec<Piece> {
        tx!(self, |tx| uploads::pieces(&tx, id, 0, 1000).await)
    }

    async fn usage(&self) -> Usage {
        tx!(self, |tx| uploads::usage(&tx, None).await)
    }

    async fn buried(&self) -> usize {
        tx!(self, |tx| objects::tombstones(&tx, None, 1000).await).len()
    }

    async fn sweep(&self, id: UploadId, now: Timestamp) -> Swept {
        loop {
            match tx!(self, |tx| uploads::sweep(&tx, id, now, 2).await) {
                Swept::More | Swept::Expired => {}
                swept => return swept,
            }
        }
    }

    /// What an Ingestor would commit of an upload with this content.
    async fn creation(&self, upload: &Upload, content: &[u8]) -> Creation {
        let ending = Ending { upload: upload.id, expires: NOW.after(DAY) };
        let creation = Creation { upload: Some(ending), ..fixtures::creation(content, EPOCH, NOW) };
        let keys = std::slice::from_ref(&creation.photo.original.object);
        tx!(self, |tx| objects::intend(&tx, EPOCH, keys));
        creation
    }
}

/// Adds these pieces and gives the lease back.
fn adding<'a>(upload: &Upload, lease: Lease, pieces: &'a [Piece]) -> Append<'a> {
    Append {
        id: upload.id,
        lease,
        epoch: EPOCH,
        now: NOW,
        expires: NOW.after(DAY),
        folded: &[],
        pieces,
        length: None,
        recognized: false,
        complete: false,
        release: true,
    }
}

async fn an_append_that_runs_twice_is_done_once(store: Store) {
    let upload = new(Kind::Plain, Some(30));
    store.create(&upload).await;
    store.create(&upload).await;
    assert_eq!(store.usage().await, Usage { open: 1, bytes: 0, reserved: 30 });
    let lease = lease();
    store.take(upload.id, 0, lease).await;
    let pieces = [store.piece(0, 10).await];
    for release in [false, false, true, true] {
        let appended = store.append(&Append { release, ..adding(&upload, lease, &pieces) }).await;
        assert!(matches!(appended, Appended::Done(upload) if upload.offset == 10));
    }
    assert_eq!(store.usage().await, Usage { open: 1, bytes: 10, reserved: 30 });
    let last = [store.piece(10, 20).await];
    store.take(upload.id, 10, lease).await;
    for _ in 0..2 {
        let by = Append { complete: true, ..adding(&upload, lease, &last) };
        assert!(
            matches!(store.append(&by).await, Appended::Done(upload) if upload.state == State::Finishing)
        );
    }
    assert_eq!(store.pieces(upload.id).await, [pieces, last].concat());
    assert_eq!(store.usage().await, Usage { open: 1, bytes: 30, reserved: 30 });
}

async fn who_comes_later_takes_the_lease_over(store: Store) {
    let upload = new(Kind::Plain, None);
    store.create(&upload).await;
    let (early, late) = (lease(), lease());
    store.take(upload.id, 0, early).await;
    assert!(matches!(store.take(upload.id, 0, late).await, Taken::Held(..)));
    let piece = [store.piece(0, 10).await];
    assert!(matches!(store.append(&adding(&upload, early, &piece)).await, Appended::LeaseLost));
    assert_eq!(store.get(upload.id).await.unwrap().offset, 0);
    assert!(matches!(store.append(&adding(&upload, late, &piece)).await, Appended::Done(_)));
    // Who asks where it stands fences whoever still holds it.
    store.take(upload.id, 10, late).await;
    let id = upload.id;
    assert_eq!(tx!(store, |tx| uploads::release(&tx, id).await).unwrap().offset, 10);
    let piece = [store.piece(10, 10).await];
    let kept = store.append(&Append { release: false, ..adding(&upload, late, &piece) }).await;
    assert!(matches!(kept, Appended::LeaseLost));
}

async fn nothing_is_added_elsewhere_or_to_what_has_ended(store: Store) {
    let upload = store.whole(Kind::Plain, &[10, 10]).await;
    assert!(matches!(store.take(upload.id, 20, lease()).await, Taken::Closed(_)), "it is whole");
    let open = new(Kind::Plain, Some(20));
    store.create(&open).await;
    assert!(matches!(store.take(open.id, 5, lease()).await, Taken::Elsewhere(found) if found.offset == 0));
    assert!(matches!(store.take(UploadId::new(), 0, lease()).await, Taken::Missing));
    let lease = lease();
    store.take(open.id, 0, lease).await;
    let refused = State::Refused { code: "corrupt-image".to_owned(), detail: "why".to_owned() };
    let end = &End { id: open.id, state: refused.clone(), holder: None, now: NOW, expires: NOW.after(DAY) };
    let owner = &OwnerId::open();
    for _ in 0..2 {
        let ended = tx!(store, |tx| uploads::end(&tx, owner, end).await);
        assert!(matches!(ended, Ended::Found(_)));
    }
    assert_eq!(store.usage().await, Usage { open: 1, bytes: 20, reserved: 20 });
    let piece = [store.piece(0, 10).await];
    assert!(matches!(store.append(&adding(&open, lease, &piece)).await, Appended::LeaseLost));
    assert_eq!(store.get(open.id).await.unwrap().state, refused);
}

async fn a_piece_whose_intent_is_gone_is_not_added(store: Store) {
    let upload = new(Kind::Plain, None);
    store.create(&upload).await;
    let lease = lease();
    store.take(upload.id, 0, lease).await;
    let pieces = [store.piece(0, 10).await, store.piece(10, 10).await];
    let (gone, due) = (&[pieces[1].object.clone()], NOW);
    tx!(store, |tx| objects::abandon(&tx, EPOCH, gone, due).await);
    assert!(matches!(store.append(&adding(&upload, lease, &pieces)).await, Appended::IntentGone));
    assert!(store.pieces(upload.id).await.is_empty());
}

async fn small_pieces_are_folded_into_one_and_buried(store: Store) {
    let upload = store.whole(Kind::Partial, &[100, 1, 1, 1]).await;
    let lease = lease();
    let Taken::Held(_, tail) = store.take(upload.id, 103, lease).await else { panic!("it is open") };
    let sizes: Vec<_> = tail.iter().map(|piece| (piece.start, piece.bytes)).collect();
    assert_eq!(sizes, [(0, 100), (100, 1), (101, 1), (102, 1)]);
    let piece = [store.piece(100, 53).await];
    for _ in 0..2 {
        store.append(&Append { folded: &tail[1..], ..adding(&upload, lease, &piece) }).await;
    }
    assert_eq!(store.pieces(upload.id).await, [tail[0].clone(), piece[0].clone()]);
    let after = store.get(upload.id).await.unwrap();
    assert_eq!((after.offset, after.pieces), (153, 2));
    assert_eq!((store.buried().await, store.usage().await.bytes), (3, 153));
}

async fn the_photo_and_the_uploads_end_are_one_transaction(store: Store) {
    let upload = store.whole(Kind::Plain, &[10, 10, 10, 10, 10]).await;
    let creation = &store.creation(&upload, b"a photo").await;
    for _ in 0..2 {
        let created = tx!(store, |tx| photos::create(&tx, creation).await);
        assert!(matches!(created, Created::New(photo) if photo.id == creation.photo.id));
    }
    let done = store.get(upload.id).await.unwrap();
    assert_eq!(done.state, State::Done { photo: creation.photo.id, duplicate: false });
    assert_eq!(store.usage().await, Usage::default());
    assert_eq!(store.sweep(upload.id, NOW).await, Swept::Clean);
    assert_eq!((store.pieces(upload.id).await.len(), store.buried().await), (0, 5));
    assert_eq!(store.sweep(upload.id, NOW.after(DAY)).await, Swept::Gone);
    assert!(store.get(upload.id).await.is_none());
}

async fn an_upload_becomes_one_photo_whoever_finishes_it(store: Store) {
    let upload = store.whole(Kind::Plain, &[10]).await;
    let first = &Creation { allow_duplicate: true, ..store.creation(&upload, b"a photo").await };
    let second = &Creation { allow_duplicate: true, ..store.creation(&upload, b"a photo").await };
    tx!(store, |tx| photos::create(&tx, first).await);
    let created = tx!(store, |tx| photos::create(&tx, second).await);
    assert!(matches!(created, Created::Settled(photo, false) if photo.id == first.photo.id), "not a second");
    let other = store.whole(Kind::Plain, &[10]).await;
    let seen = Some(Seen::Present(first.photo.original.object.clone()));
    let duplicate = &Creation { seen, ..store.creation(&other, b"a photo").await };
    for _ in 0..2 {
        let created = tx!(store, |tx| photos::create(&tx, duplicate).await);
        assert!(matches!(created, Created::Duplicate(_) | Created::Settled(_, true)), "{created:?}");
    }
    assert!(matches!(store.get(other.id).await.unwrap().state, State::Done { duplicate: true, .. }));
    // What was terminated meanwhile becomes none.
    let gone = store.whole(Kind::Plain, &[10]).await;
    let creation = &store.creation(&gone, b"another").await;
    let (owner, end) = (
        &OwnerId::open(),
        &End { id: gone.id, state: State::Terminated, holder: None, now: NOW, expires: NOW },
    );
    tx!(store, |tx| uploads::end(&tx, owner, end).await);
    assert!(matches!(tx!(store, |tx| photos::create(&tx, creation).await), Created::UploadGone));
}

async fn parts_are_joined_without_a_copy_and_once(store: Store) {
    let (a, b) = (store.whole(Kind::Partial, &[10, 20]).await, store.whole(Kind::Partial, &[5]).await);
    let short = new(Kind::Partial, Some(9));
    store.create(&short).await;
    let keep_to = &Join { bytes_max: 100, pieces_max: 10, parts_expire: NOW.after(DAY) };
    let of = |parts: &[UploadId]| Upload { length: None, ..new(Kind::Final { parts: parts.to_vec() }, None) };
    let unfinished = &of(&[a.id, short.id]);
    let joined = tx!(store, |tx| uploads::join(&tx, unfinished, keep_to, None).await);
    assert!(matches!(joined, Joined::Unfinished(id) if id == short.id));
    let objects: Vec<_> = [store.pieces(a.id).await, store.pieces(b.id).await]
        .concat()
        .into_iter()
        .map(|piece| piece.object)
        .collect();
    let whole = &of(&[a.id, b.id]);
    for _ in 0..2 {
        let joined = tx!(store, |tx| uploads::join(&tx, whole, keep_to, None).await);
        let Joined::Done(joined) = joined else { panic!("{joined:?}") };
        assert_eq!((joined.id, joined.offset, joined.length, joined.pieces), (whole.id, 35, Some(35), 3));
        assert_eq!(joined.state, State::Finishing);
    }
    let pieces = store.pieces(whole.id).await;
    assert_eq!(pieces.iter().map(|piece| piece.start).collect::<Vec<_>>(), [0, 10, 30]);
    assert_eq!(pieces.into_iter().map(|piece| piece.object).collect::<Vec<_>>(), objects);
    assert_eq!(store.get(a.id).await.unwrap().state, State::Joined { into: whole.id });
    assert_eq!(store.usage().await, Usage { open: 2, bytes: 35, reserved: 44 });
    let again = &of(&[a.id, b.id]);
    let joined = tx!(store, |tx| uploads::join(&tx, again, keep_to, None).await);
    assert!(
        matches!(joined, Joined::Done(joined) if joined.id == whole.id),
        "its client did not get the answer"
    );
    let other = &of(&[b.id]);
    assert!(
        matches!(tx!(store, |tx| uploads::join(&tx, other, keep_to, None).await), Joined::Taken(id) if id == b.id)
    );
    // The parts go, and the pieces stay.
    assert_eq!(store.sweep(a.id, NOW.after(DAY)).await, Swept::Gone);
    assert_eq!((store.pieces(whole.id).await.len(), store.buried().await), (3, 0));
}

async fn limits_count_what_is_open(store: Store) {
    for _ in 0..5 {
        store.create(&new(Kind::Plain, None)).await;
    }
    let sixth = &new(Kind::Plain, None);
    let refused = tx!(store, |tx| uploads::create(&tx, sixth, &LIMITS, None).await);
    assert_eq!(refused, Err(NotBegun::Over(OverLimit::OpenOfOwner)));
    let few = &Limits { open_max: 5, open_per_owner_max: 100, ..LIMITS };
    assert_eq!(
        tx!(store, |tx| uploads::create(&tx, sixth, few, None).await),
        Err(NotBegun::Over(OverLimit::Open))
    );
    // Five of no known length have reserved a hundred bytes each.
    let full = &Limits { open_per_owner_max: 100, bytes_max: 500, ..LIMITS };
    let over = |limits| tx_create(&store, sixth, limits);
    assert_eq!(over(full).await, Err(NotBegun::Over(OverLimit::Bytes)));
    let full = &Limits { open_per_owner_max: 100, bytes_per_owner_max: 500, ..LIMITS };
    assert_eq!(over(full).await, Err(NotBegun::Over(OverLimit::BytesOfOwner)));
}

async fn tx_create(store: &Store, upload: &Upload, limits: &Limits) -> Result<Upload, NotBegun> {
    tx!(store, |tx| uploads::create(&tx, upload, limits, None).await)
}

async fn what_is_reserved_comes_back_and_holds_up_nobody_who_has_begun(store: Store) {
    let (known, any) = (new(Kind::Plain, Some(750)), new(Kind::Plain, None));
    store.create(&known).await;
    store.create(&any).await;
    assert_eq!(store.usage().await, Usage { open: 2, bytes: 0, reserved: 850 });
    let next = &new(Kind::Plain, Some(1));
    assert_eq!(tx_create(&store, next, &LIMITS).await, Err(NotBegun::Over(OverLimit::BytesOfOwner)));
    // Beyond the limit what has begun goes on, and its length takes the place of what it could have been.
    let lease = lease();
    assert!(matches!(store.take(any.id, 0, lease).await, Taken::Held(..)));
    let piece = [store.piece(0, 40).await];
    store.append(&Append { complete: true, ..adding(&any, lease, &piece) }).await;
    assert_eq!(store.usage().await, Usage { open: 2, bytes: 40, reserved: 790 });
    tx_create(&store, next, &LIMITS).await.unwrap();
    let owner = &OwnerId::open();
    for id in [known.id, any.id, next.id] {
        let end = &End { id, state: State::Terminated, holder: None, now: NOW, expires: NOW };
        tx!(store, |tx| uploads::end(&tx, owner, end).await);
    }
    assert_eq!(store.usage().await, Usage::default());
}

async fn who_was_overtaken_ends_nothing(store: Store) {
    let upload = new(Kind::Plain, Some(30));
    store.create(&upload).await;
    let (early, late, owner) = (lease(), lease(), &OwnerId::open());
    store.take(upload.id, 0, early).await;
    store.take(upload.id, 0, late).await;
    let refused = State::Refused { code: "corrupt-image".to_owned(), detail: "why".to_owned() };
    let by = |lease: Lease| End {
        id: upload.id,
        state: refused.clone(),
        holder: Some(lease.id),
        now: NOW,
        expires: NOW.after(DAY),
    };
    let (early, late) = (&by(early), &by(late));
    assert!(matches!(tx!(store, |tx| uploads::end(&tx, owner, early).await), Ended::LeaseLost));
    assert_eq!(store.get(upload.id).await.unwrap().state, State::Open);
    assert!(matches!(tx!(store, |tx| uploads::end(&tx, owner, late).await), Ended::Found(_)));
    assert_eq!(store.get(upload.id).await.unwrap().state, refused);
}

async fn what_was_announced_is_found_until_it_ends(store: Store) {
    let (owner, content) = (&OwnerId::open(), &ContentHash::of(b"the whole"));
    let wishes = Wishes { content: Some(*content), ..Wishes::default() };
    let (first, second) = (
        Upload { wishes: wishes.clone(), ..new(Kind::Plain, None) },
        Upload { wishes, ..new(Kind::Plain, None) },
    );
    let find = || async {
        tx!(store, |tx| uploads::find_by_content(&tx, owner, content).await).map(|found| found.id)
    };
    assert_eq!(find().await, None);
    store.create(&first).await;
    assert_eq!(find().await, Some(first.id));
    store.create(&second).await;
    assert_eq!(find().await, Some(second.id));
    for (id, left) in [(first.id, Some(second.id)), (second.id, None)] {
        let end = &End { id, state: State::Terminated, holder: None, now: NOW, expires: NOW };
        tx!(store, |tx| uploads::end(&tx, owner, end).await);
        assert_eq!(find().await, left);
    }
}

async fn what_has_expired_goes_with_its_pieces(store: Store) {
    let upload = store.whole(Kind::Partial, &[1, 2, 3, 4, 5]).await;
    let due = |now| tx_due(&store, now);
    assert!(due(NOW).await.is_empty());
    assert_eq!(store.sweep(upload.id, NOW).await, Swept::Clean, "it has time");
    let late = NOW.after(DAY);
    assert_eq!(due(late).await, [upload.id]);
    assert_eq!(store.sweep(upload.id, late).await, Swept::Gone);
    assert!(due(late).await.is_empty() && store.get(upload.id).await.is_none());
    assert_eq!((store.buried().await, store.usage().await), (5, Usage::default()));
}

async fn tx_due(store: &Store, now: Timestamp) -> Vec<UploadId> {
    tx!(store, |tx| uploads::due(&tx, now, None, 10).await).into_iter().map(|due| due.id).collect()
}

async fn what_is_due_is_listed_behind_what_cannot_be_swept(store: Store) {
    let mut expected = Vec::new();
    for _ in 0..3 {
        let upload = new(Kind::Plain, Some(1));
        store.create(&upload).await;
        expected.push(upload.id);
    }
    expected.sort_unstable();
    let (mut listed, mut after, late) = (Vec::new(), None, NOW.after(DAY));
    while let [due] = tx!(store, |tx| uploads::due(&tx, late, after, 1).await)[..] {
        listed.push(due.id);
        after = Some(due);
    }
    assert_eq!(listed, expected);
}
