//! A file as the body of a request. Its last bytes leave only when all that were read have the digest that was told: so no
//! half-changed file ever becomes a photo.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use blake3::{Hash, Hasher};
use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::client::Meter;
use super::digest::{self, FileState, Hashed};
use super::ledger::Outcome;

/// Bytes of one piece; of each file that is sent three are held at most.
const PIECE_BYTES: u64 = 256 * 1024;

/// After so long, bytes that still leave are taken by the daemon: one that takes nothing has said so by then, or has let the
/// buffers on the way run full.
const TAKEN_AFTER: Duration = Duration::from_secs(5);

/// Why a file cannot be sent.
#[derive(Debug)]
pub(super) enum SourceError {
    /// It is no longer what was hashed.
    Changed,
    /// It cannot be read.
    Unreadable(io::Error),
}

impl From<io::Error> for SourceError {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

impl From<SourceError> for Outcome {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Changed => Self::Changed,
            SourceError::Unreadable(error) => Self::Unreadable(error.to_string()),
        }
    }
}

/// A file that is being sent, in one request or many.
pub(super) struct Source {
    path: PathBuf,
    hash: Hash,
    state: FileState,
    open: Option<Open>,
}

struct Open {
    file: File,
    /// Over all that was read.
    hasher: Hasher,
    position: u64,
}

impl Source {
    pub(super) fn new(path: PathBuf, hashed: &Hashed) -> Self {
        Self { path, hash: hashed.hash, state: hashed.state, open: None }
    }

    /// Reads the bytes from `from` to `to` into `pieces`, until nobody takes them any more. Blocks.
    ///
    /// # Errors
    /// When the file is no longer what it was; `pieces` is told too, so that the body breaks off.
    pub(super) fn read(&mut self, from: u64, to: u64, pieces: &Pieces) -> Result<(), SourceError> {
        let outcome = self.try_read(from, to, pieces);
        if outcome.is_err() {
            self.open = None;
            let _ = pieces.blocking_send(Err(io::Error::other("the file has changed, or cannot be read")));
        }
        outcome
    }

    fn try_read(&mut self, from: u64, to: u64, pieces: &Pieces) -> Result<(), SourceError> {
        let (hash, state) = (self.hash, self.state);
        let open = self.open_at(from)?;
        while open.position < to {
            let piece = open.read((to - open.position).min(PIECE_BYTES))?;
            let last = open.position == state.bytes;
            if last && (open.hasher.finalize() != hash || open.state()? != state) {
                return Err(SourceError::Changed);
            }
            if pieces.blocking_send(Ok(piece)).is_err() {
                break; // The answer came early, or the connection broke.
            }
        }
        Ok(())
    }

    /// The open file, read up to `offset`: what lies before belongs to the digest also when it is not sent again.
    fn open_at(&mut self, offset: u64) -> Result<&mut Open, SourceError> {
        if self.open.as_ref().is_none_or(|open| open.position > offset) {
            self.open = Some(Open::new(&self.path, &self.state)?);
        }
        let open = self.open.as_mut().ok_or(SourceError::Changed)?;
        while open.position < offset {
            open.read((offset - open.position).min(PIECE_BYTES))?;
        }
        Ok(open)
    }
}

impl Open {
    fn new(path: &std::path::Path, state: &FileState) -> Result<Self, SourceError> {
        let (file, found) = digest::open(path)?;
        if found != *state {
            return Err(SourceError::Changed);
        }
        Ok(Self { file, hasher: Hasher::new(), position: 0 })
    }

    fn state(&self) -> Result<FileState, SourceError> {
        Ok(FileState::of(&self.file.metadata()?))
    }

    /// Exactly so many bytes.
    fn read(&mut self, length: u64) -> Result<Bytes, SourceError> {
        let mut piece = BytesMut::zeroed(length as usize);
        match self.file.read_exact(&mut piece) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(SourceError::Changed),
            Err(error) => return Err(error.into()),
        }
        self.hasher.update(&piece);
        self.position += length;
        Ok(piece.freeze())
    }
}

/// Where pieces of a file go.
pub(super) type Pieces = mpsc::Sender<io::Result<Bytes>>;

/// The body of a request: pieces of a file, or bytes that are at hand.
pub(super) struct Payload {
    at_hand: Bytes,
    pieces: Option<mpsc::Receiver<io::Result<Bytes>>>,
    length: u64,
    /// How much of it was taken; looked at from outside while it is sent.
    moved: Arc<AtomicU64>,
    meter: Option<Leaving>,
}

impl Payload {
    pub(super) fn empty() -> Self {
        Self::of(Bytes::new())
    }

    pub(super) fn of(bytes: Bytes) -> Self {
        Self { length: bytes.len() as u64, at_hand: bytes, pieces: None, moved: Arc::default(), meter: None }
    }

    /// So many bytes, that come through what is returned beside. Those of a first try are a sign that it goes forward; those
    /// that are sent again (`repeated`) may come to as little as before.
    pub(super) fn stream(length: u64, meter: &Arc<Meter>, repeated: bool) -> (Pieces, Self) {
        let (pieces, receiver) = mpsc::channel(1);
        let meter = Some(Leaving { counted: Underway::new(meter), repeated, began: None });
        let payload =
            Self { length, at_hand: Bytes::new(), pieces: Some(receiver), moved: Arc::default(), meter };
        (pieces, payload)
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn moved(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.moved)
    }

    fn left(&self) -> u64 {
        self.length.saturating_sub(self.moved.load(Ordering::Relaxed))
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left() == 0 {
            return Poll::Ready(None);
        }
        let piece = match &mut self.pieces {
            None => Ok(std::mem::take(&mut self.at_hand)),
            Some(pieces) => match pieces.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(piece)) => piece,
                Poll::Ready(None) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            },
        };
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        let length = piece.len() as u64;
        self.moved.fetch_add(length, Ordering::Relaxed);
        if let Some(meter) = &mut self.meter {
            meter.add(length);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

/// A body that leaves.
struct Leaving {
    counted: Underway,
    repeated: bool,
    /// When its first bytes left.
    began: Option<Instant>,
}

impl Leaving {
    fn add(&mut self, bytes: u64) {
        self.counted.reach(self.counted.bytes + bytes);
        self.counted.meter.moved(bytes);
        let began = *self.began.get_or_insert_with(Instant::now);
        if !self.repeated && began.elapsed() >= TAKEN_AFTER {
            self.counted.meter.forward();
        }
    }
}

/// So many bytes of a file whose outcome is not known, as the progress shows them; none when dropped.
pub(super) struct Underway {
    meter: Arc<Meter>,
    bytes: u64,
}

impl Underway {
    pub(super) fn new(meter: &Arc<Meter>) -> Self {
        Self { meter: Arc::clone(meter), bytes: 0 }
    }

    /// It is so many now.
    pub(super) fn reach(&mut self, bytes: u64) {
        // Added first, so that who looks in between sees no less than there is.
        self.meter.in_flight.fetch_add(bytes, Ordering::Relaxed);
        self.meter.in_flight.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.reach(0);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileExt;
    use std::path::Path;
    use std::time::SystemTime;

    use http_body_util::BodyExt;

    use super::*;

    const BYTES: u64 = 5 * PIECE_BYTES + 7;

    fn content() -> Vec<u8> {
        (0..BYTES).map(|at| (at % 251) as u8).collect()
    }

    fn file(home: &tempfile::TempDir) -> (PathBuf, Source) {
        let path = home.path().join("a.jpg");
        fs::write(&path, content()).unwrap();
        let state = FileState::of(&fs::metadata(&path).unwrap());
        let hashed = Hashed { index: 0, hash: blake3::hash(&content()), state };
        (path.clone(), Source::new(path, &hashed))
    }

    /// Reads from `from` to the end, with `meanwhile` done after the first piece; how many bytes left, and how it ended.
    fn sent(source: &mut Source, from: u64, meanwhile: impl FnOnce()) -> (u64, Result<(), SourceError>) {
        let (pieces, mut taken) = mpsc::channel(1);
        std::thread::scope(|scope| {
            let reading = scope.spawn(move || source.read(from, BYTES, &pieces));
            let mut bytes = taken.blocking_recv().unwrap().unwrap().len() as u64;
            meanwhile();
            while let Some(Ok(piece)) = taken.blocking_recv() {
                bytes += piece.len() as u64;
            }
            (bytes, reading.join().unwrap())
        })
    }

    fn modify(path: &Path, how: impl FnOnce(&File)) {
        how(&File::options().write(true).open(path).unwrap());
    }

    /// What is done to a file, by name.
    type Change<'a> = (&'a str, &'a dyn Fn(&Path));

    #[test]
    fn the_end_of_a_file_that_changes_while_it_is_sent_never_leaves() {
        let at = SystemTime::now() - Duration::from_secs(60);
        let longer = |path: &Path| modify(path, |file| file.set_len(BYTES + 1).unwrap());
        let shorter = |path: &Path| modify(path, |file| file.set_len(BYTES - 1).unwrap());
        let touched = |path: &Path| modify(path, |file| file.set_modified(at).unwrap());
        // Its end becomes another, and its time is set back: only the digest tells.
        let altered = |path: &Path| {
            let before = fs::metadata(path).unwrap().modified().unwrap();
            modify(path, |file| {
                file.write_all_at(b"x", BYTES - 1).unwrap();
                file.set_modified(before).unwrap();
            });
        };
        let ways: [Change<'_>; 4] =
            [("longer", &longer), ("shorter", &shorter), ("touched", &touched), ("altered", &altered)];
        for (name, change) in ways {
            // From its beginning, and from where an earlier request ended.
            for from in [0, 2 * PIECE_BYTES] {
                let home = tempfile::tempdir().unwrap();
                let (path, mut source) = file(&home);
                let (left, outcome) = sent(&mut source, from, || change(&path));
                assert!(matches!(outcome, Err(SourceError::Changed)), "{name}: {outcome:?}");
                assert!(left < BYTES - from, "{name}: all of it left");
            }
        }
    }

    #[test]
    fn one_that_is_removed_or_replaced_while_it_is_open_is_sent_as_it_was_hashed() {
        let home = tempfile::tempdir().unwrap();
        let (path, mut source) = file(&home);
        let (left, outcome) = sent(&mut source, 0, || fs::remove_file(&path).unwrap());
        assert!(outcome.is_ok() && left == BYTES);
        let (path, mut source) = file(&home);
        let (left, outcome) = sent(&mut source, 0, || {
            fs::write(home.path().join("new"), "another file").unwrap();
            fs::rename(home.path().join("new"), &path).unwrap();
        });
        assert!(outcome.is_ok() && left == BYTES);
        // To begin again it has to be opened again.
        let (_, outcome) = sent_at_once(&mut source);
        assert!(matches!(outcome, Err(SourceError::Changed)), "{outcome:?}");
        fs::remove_file(&path).unwrap();
        let (_, outcome) = sent_at_once(&mut source);
        assert!(matches!(outcome, Err(SourceError::Unreadable(_))), "{outcome:?}");
    }

    /// Reads all of it, and takes what comes: there may be nothing.
    fn sent_at_once(source: &mut Source) -> (bool, Result<(), SourceError>) {
        let (pieces, mut taken) = mpsc::channel(8);
        let outcome = source.read(0, BYTES, &pieces);
        (taken.try_recv().is_ok_and(|piece| piece.is_ok()), outcome)
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_go_on_leaving_are_a_sign_that_it_goes_forward_unless_they_are_sent_again() {
        for (repeated, stands_for) in [(false, Duration::ZERO), (true, TAKEN_AFTER)] {
            let meter = Meter::new();
            meter.stumbled(Instant::now(), true);
            let (pieces, mut payload) = Payload::stream(2, &meter, repeated);
            pieces.send(Ok(Bytes::from_static(b"a"))).await.unwrap();
            payload.frame().await.unwrap().unwrap();
            // Into the buffers on the way anything goes.
            tokio::time::advance(TAKEN_AFTER).await;
            assert_eq!(meter.standing(), TAKEN_AFTER);
            pieces.send(Ok(Bytes::from_static(b"b"))).await.unwrap();
            payload.frame().await.unwrap().unwrap();
            assert_eq!(meter.standing(), stands_for, "repeated: {repeated}");
        }
    }

    #[test]
    fn what_has_arrived_of_a_file_stays_in_sight_while_the_rest_is_sent() {
        let meter = Meter::new();
        let seen = || meter.in_flight.load(Ordering::Relaxed);
        let mut arrived = Underway::new(&meter);
        let mut leaving = Underway::new(&meter);
        leaving.reach(32);
        arrived.reach(32);
        drop(leaving);
        assert_eq!(seen(), 32, "an acknowledged piece is forgotten");
        arrived.reach(40);
        assert_eq!(seen(), 40);
        drop(arrived);
        assert_eq!(seen(), 0);
    }
}
