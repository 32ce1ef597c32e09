//! Hashes files, several at once.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use blake3::{Hash, Hasher};
use rustix::fs::OFlags;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::ledger::Event;
use super::source::SourceError;
use super::walk::Found;

/// Bytes that are read and hashed at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Files that are hashed at once at most: more disturb a disk more than they help.
const THREADS_MAX: usize = 4;

/// What a file was when it was hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hashed {
    /// Its place in the list of files.
    pub(super) index: usize,
    pub(super) hash: Hash,
    pub(super) state: FileState,
}

/// What tells a change of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileState {
    pub(super) bytes: u64,
    pub(super) modified: Option<SystemTime>,
}

impl FileState {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { bytes: metadata.len(), modified: metadata.modified().ok() }
    }
}

/// Hashes the first `count` files in their order, and gives them to `hashed`; what cannot be read is an event. Returns when all is done or
/// `stop` is cancelled.
pub(super) async fn hash_all(
    files: Arc<Vec<Found>>,
    count: usize,
    hashed: mpsc::Sender<Hashed>,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) {
    let next = Arc::new(AtomicUsize::new(0));
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(THREADS_MAX);
    let mut running = JoinSet::new();
    for _ in 0..threads {
        let (files, next) = (Arc::clone(&files), Arc::clone(&next));
        let (hashed, events, stop) = (hashed.clone(), events.clone(), stop.clone());
        running.spawn_blocking(move || {
            while !stop.is_cancelled() {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(file) = files[..count].get(index) else { return };
                let told = match hash(&file.path, &stop) {
                    Ok(Some((hash, state))) => hashed.blocking_send(Hashed { index, hash, state }).is_ok(),
                    Ok(None) => return,
                    Err(error) => events.blocking_send(Event::settled(index, error.into())).is_ok(),
                };
                if !told {
                    return; // Whoever listened has given up.
                }
            }
        });
    }
    while running.join_next().await.is_some() {}
}

/// Opens a file, and nothing that only has the name of one: since it was found, a pipe may have taken its place, and opening
/// that would wait for whoever writes into it.
pub(super) fn open(path: &Path) -> io::Result<(File, FileState)> {
    let no_file = || io::Error::other("it is not a file");
    if !fs::metadata(path)?.is_file() {
        return Err(no_file());
    }
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        // A file server holds it for one of its clients, who gives it back when somebody waits.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => File::open(path),
        opened => opened,
    }?;
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok((file, FileState::of(&metadata))) } else { Err(no_file()) }
}

/// The digest of a file, and what the file was while it was read. None when stopped.
///
/// # Errors
/// When it cannot be read, or is written to meanwhile: one that grows might never end.
fn hash(path: &Path, stop: &CancellationToken) -> Result<Option<(Hash, FileState)>, SourceError> {
    let (mut file, state) = open(path)?;
    let mut hasher = Hasher::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        if stop.is_cancelled() {
            return Ok(None);
        }
        hasher.update(&piece[..length]);
        if hasher.count() > state.bytes {
            return Err(SourceError::Changed);
        }
    }
    if hasher.count() != state.bytes || FileState::of(&file.metadata()?) != state {
        return Err(SourceError::Changed);
    }
    Ok(Some((hasher.finalize(), state)))
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Outcome;
    use super::*;

    #[tokio::test]
    async fn every_file_is_hashed_once_and_an_unreadable_one_is_told() {
        let home = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        for number in 0..50 {
            let path = home.path().join(number.to_string());
            std::fs::write(&path, vec![number; usize::from(number) * 20_000]).unwrap();
            files.push(Found { path, bytes: u64::from(number) * 20_000 });
        }
        std::fs::remove_file(&files[7].path).unwrap();
        let (hashed, mut found) = mpsc::channel(100);
        let (events, mut told) = mpsc::channel(100);
        hash_all(Arc::new(files), 50, hashed, events, CancellationToken::new()).await;
        let mut all = Vec::new();
        while let Some(hashed) = found.recv().await {
            let content = vec![hashed.index as u8; hashed.index * 20_000];
            assert_eq!((hashed.hash, hashed.state.bytes), (blake3::hash(&content), content.len() as u64));
            all.push(hashed.index);
        }
        all.sort_unstable();
        assert_eq!(all, (0..50).filter(|index| *index != 7).collect::<Vec<_>>());
        let event = told.recv().await.unwrap();
        assert!(matches!(event, Event::Settled { index: 7, outcome: Outcome::Unreadable(_) }), "{event:?}");
    }

    #[test]
    fn a_pipe_in_the_place_of_a_file_is_not_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let pipe = home.path().join("a.jpg");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(open(&pipe).unwrap_err().to_string(), "it is not a file");
        assert_eq!(open(home.path()).unwrap_err().to_string(), "it is not a file");
    }

    #[test]
    fn what_is_said_to_be_a_file_and_never_ends_is_not_read_for_ever() {
        // A file of the system that tells a length of 0 and has content all the same, as one has that grows.
        let changed = hash(Path::new("/proc/self/maps"), &CancellationToken::new());
        assert!(matches!(changed, Err(SourceError::Changed)), "{changed:?}");
    }
}
