//! Objects as files of this machine.
//!
//! A put goes to a temporary file, which is synced, renamed into place, and made durable by syncing the
//! folder: at every moment the final name holds the whole object or nothing. Objects are spread over 256
//! folders by the millisecond of their key: keys are reserved in blocks, so what is written together lies
//! together, and its folder's syncs fall into one.
//!
//! Nodes may share the folder, by a network file system: `temporary` says whose a temporary file is, and `mount` whether the
//! folder is still there. `room` says what a disk lacks that is full.
//!
//! All file calls run on tokio's blocking threads; a call that needs several does them in one hop. Those that write share a few
//! of them.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::Errno;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking};
use uuid::Uuid;

mod mount;
mod options;
mod room;
mod temporary;

use super::pieces::Pieces;
use super::{ObjectInfo, ObjectKey, ObjectKind, Receipt, other_length};
use crate::StoreError;
use crate::model::{ContentHash, Epoch};
use mount::{Mount, store_id_in, store_id_path};
pub use options::FilesystemOptions;
use room::{failed, leave};
pub use temporary::Leftover;
use temporary::Temporary;

/// Bytes gathered before they are handed to the disk. While they are written the next window fills, so a put
/// holds at most two, and the piece that overflowed each.
pub const WINDOW_BYTES: usize = 128 * 1024;
/// Most that a put holds, whatever the size of the pieces that come from a connection.
pub const PUT_BYTES_MAX: u64 = 1 << 20;
/// The byte of a `UUIDv7` that counts milliseconds (RFC 9562, section 5.7).
const SHARD_BYTE: usize = 5;
/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;
/// What a read answers where the disk or the file system knows that the bytes are not there any more: bad sectors, and
/// blocks whose checksum is wrong (btrfs and ext4 say EIO, XFS EUCLEAN and EBADMSG).
const LOST: [Errno; 3] = [Errno::IO, Errno::UCLEAN, Errno::BADMSG];

/// Who writes into a folder of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// This process alone, which the lock on its data directory sees to: temporary files that are there when it opens the
    /// folder are of dead processes.
    One,
    /// Other nodes, too: their temporary files are theirs until their epoch is dead.
    Many,
}

/// A folder as an object store.
#[derive(Clone, Debug)]
pub struct Filesystem {
    root: Arc<Path>,
    mount: Arc<Mount>,
    writers: Writers,
    temporary: Temporary,
    /// Free disk space that puts leave, in bytes.
    free_space_min: u64,
    writes: Writes,
}

/// Threads that write, sync or delete. A sync that takes long holds one; what reads is not among them.
///
/// Syncs of many files end together, and then all their threads want a processor: with a thread for each of two hundred
/// uploads, a read of what lies in memory would wait tens of milliseconds behind them.
#[derive(Clone, Debug)]
struct Writes(Arc<Semaphore>);

impl Writes {
    /// Does this when it is its turn.
    async fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> JoinHandle<Result<T, StoreError>> {
        // Nobody closes it.
        let place = self.0.clone().acquire_owned().await.ok();
        spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        })
    }

    async fn done<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        joined(self.begin(work).await.await)
    }
}

impl Filesystem {
    /// Opens `root`, and removes the temporary files that are certainly of nobody.
    pub(super) async fn open(
        root: &Path,
        options: FilesystemOptions,
        writers: Writers,
    ) -> Result<Self, StoreError> {
        options.validate()?;
        let free_space_min = options.free_space_min_bytes;
        let writes = Writes(Arc::new(Semaphore::new(options.writes_max)));
        let (root, temporary) = (Arc::<Path>::from(root), Temporary::below(root));
        blocking(move || {
            for kind in ObjectKind::ALL {
                for shard in 0..=255_u8 {
                    create_dir(&root.join(kind.prefix()).join(format!("{shard:02x}")))?;
                }
                sync_dir(&root.join(kind.prefix()))?;
            }
            create_dir(temporary.folder())?;
            sync_dir(&root)?;
            // The root itself may be new.
            root.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_dir)?;
            if writers == Writers::One {
                temporary.remove_all()?;
            }
            let mount = Arc::new(Mount::of(root.clone())?);
            // What cannot be written is told now, and not by the first upload. A full disk can still be read.
            match Unfinished::create(&mount, temporary.next(), 0) {
                Ok(_) | Err(StoreError::DiskFull { .. }) => {}
                Err(error) => return Err(error),
            }
            Ok(Self { root, mount, writers, temporary, free_space_min, writes })
        })
        .await
    }

    /// The same store for what `epoch` writes.
    pub(super) fn of_epoch(&self, epoch: Epoch) -> Self {
        Self { temporary: self.temporary.of_epoch(epoch), ..self.clone() }
    }

    /// Temporary files of other nodes, or of their earlier lives. None where this process has the folder to itself.
    pub(super) async fn leftovers(&self) -> Result<Vec<Leftover>, StoreError> {
        match self.writers {
            Writers::One => Ok(Vec::new()),
            Writers::Many => {
                let (temporary, mount) = (self.temporary.clone(), self.mount.clone());
                blocking(move || {
                    mount.check()?;
                    temporary.leftovers()
                })
                .await
            }
        }
    }

    /// Removes them; how many were still there. One that cannot be removed does not hold up the others.
    pub(super) async fn remove_leftovers(&self, leftovers: Vec<Leftover>) -> Result<usize, StoreError> {
        blocking(move || {
            let remove = |left: &Leftover| match temporary::remove(&left.path) {
                Ok(removed) => removed,
                Err(error) => {
                    tracing::error!(%error, "what a dead node left cannot be removed; the next sweep tries again");
                    false
                }
            };
            Ok(leftovers.iter().filter(|left| remove(left)).count())
        })
        .await
    }

    fn path(&self, key: &ObjectKey) -> Result<PathBuf, StoreError> {
        let (kind, id) = key.parts()?;
        let shard = id.as_bytes()[SHARD_BYTE];
        Ok(self.root.join(kind.prefix()).join(format!("{shard:02x}")).join(id.as_hyphenated().to_string()))
    }

    pub(super) async fn begin_put(&self, key: &ObjectKey) -> Result<FileWriter, StoreError> {
        let (target, temporary, reserve) = (self.path(key)?, self.temporary.next(), self.free_space_min);
        let mount = self.mount.clone();
        let create = move || Unfinished::create(&mount, temporary, reserve);
        let file = self.writes.done(create).await?;
        let window = Pieces::default();
        Ok(FileWriter { target, window, sink: Sink::Idle(Box::new(file)), writes: self.writes.clone() })
    }

    pub(super) async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<Receipt, StoreError> {
        let (target, temporary, reserve) = (self.path(key)?, self.temporary.next(), self.free_space_min);
        let mount = self.mount.clone();
        let write = move || {
            let mut file = Unfinished::create(&mount, temporary, reserve)?;
            file.append(&bytes)?;
            file.finish(&target)
        };
        self.writes.done(write).await
    }

    pub(super) async fn get(
        &self,
        key: &ObjectKey,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<Option<FileReader>, StoreError> {
        let (path, mount) = (self.path(key)?, self.mount.clone());
        let buffer = buffer();
        blocking(move || {
            let Some(mut file) = open(&path)? else { return mount.check().map(|()| None) };
            let bytes = file.metadata().map_err(|e| failed("look at", &path, e))?.len();
            let range = range.unwrap_or(0..bytes);
            if range.start > 0 {
                file.seek(SeekFrom::Start(range.start)).map_err(|e| failed("seek in", &path, e))?;
            }
            let mut reader = OpenFile { file, path, remaining: range.end.saturating_sub(range.start) };
            // Most variants are smaller than one read: open and read in the same hop.
            let first = reader.read(buffer)?;
            Ok(Some(FileReader { first, rest: Some(reader) }))
        })
        .await
    }

    pub(super) async fn get_whole(&self, key: &ObjectKey, bytes: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let (path, mount) = (self.path(key)?, self.mount.clone());
        blocking(move || match read_whole(&path, bytes..=bytes)? {
            Some(bytes) => Ok(Some(bytes)),
            None => mount.check().map(|()| None),
        })
        .await
    }

    pub(super) async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectInfo>, StoreError> {
        let (path, mount) = (self.path(key)?, self.mount.clone());
        blocking(move || match fs::metadata(&path).and_then(|m| Ok((m.len(), m.modified()?))) {
            Ok((bytes, modified)) => Ok(Some(ObjectInfo { bytes, modified })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => mount.check().map(|()| None),
            Err(e) => Err(failed("look at", &path, e)),
        })
        .await
    }

    pub(super) async fn delete(&self, keys: &[ObjectKey]) -> Result<usize, StoreError> {
        let paths = keys.iter().map(|key| self.path(key)).collect::<Result<Vec<_>, _>>()?;
        let mount = self.mount.clone();
        let delete = move || {
            let mut folders = BTreeSet::new();
            let mut deleted = 0;
            for path in &paths {
                // Also of a file that is not there: an earlier call may have removed it and ended before its sync.
                folders.extend(path.parent());
                match fs::remove_file(path) {
                    Ok(()) => deleted += 1,
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(failed("delete", path, e)),
                }
            }
            if deleted < paths.len() {
                mount.check()?;
            }
            // Before a tombstone may go, the file must be gone for good, also after a power cut.
            folders.into_iter().try_for_each(sync_dir)?;
            Ok(deleted)
        };
        self.writes.done(delete).await
    }

    pub(super) async fn list(
        &self,
        kind: ObjectKind,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Vec<ObjectKey>, StoreError> {
        let (folder, mount) = (self.root.join(kind.prefix()), self.mount.clone());
        let after = after.map(|key| key.as_str().to_owned());
        blocking(move || {
            mount.check()?;
            let mut keys = BTreeSet::new();
            for shard in 0..=255_u8 {
                let shard = folder.join(format!("{shard:02x}"));
                for entry in fs::read_dir(&shard).map_err(|e| failed("list", &shard, e))? {
                    let name = entry.map_err(|e| failed("list", &shard, e))?.file_name();
                    let key = format!("{}/{}", kind.prefix(), name.to_string_lossy());
                    if after.as_ref().is_none_or(|after| key > *after) {
                        keys.insert(key);
                        if keys.len() > limit {
                            keys.pop_last();
                        }
                    }
                }
            }
            Ok(keys.into_iter().map(ObjectKey::from_stored).collect())
        })
        .await
    }

    pub(super) async fn store_id(&self) -> Result<Option<Uuid>, StoreError> {
        let (root, mount) = (self.root.clone(), self.mount.clone());
        blocking(move || {
            let found = store_id_in(&root)?;
            if let Some(id) = found {
                mount.belongs_to(id);
            }
            Ok(found)
        })
        .await
    }

    pub(super) async fn set_store_id(&self, id: Uuid) -> Result<(), StoreError> {
        let (target, temporary) = (store_id_path(&self.root), self.temporary.next());
        let mount = self.mount.clone();
        blocking(move || {
            let mut file = Unfinished::create(&mount, temporary, 0)?;
            file.append(format!("{id}\n").as_bytes())?;
            file.finish(&target)?;
            mount.belongs_to(id);
            Ok(())
        })
        .await
    }
}

/// A temporary file, removed unless it is finished.
#[derive(Debug)]
struct Unfinished {
    file: File,
    path: Option<PathBuf>,
    bytes: u64,
    hasher: blake3::Hasher,
    reserve: u64,
    mount: Arc<Mount>,
}

impl Unfinished {
    /// Refused where less than `reserve` bytes of disk are left: deleting needs room too, and metadata lie on
    /// the same disk.
    fn create(mount: &Arc<Mount>, path: PathBuf, reserve: u64) -> Result<Self, StoreError> {
        mount.check()?;
        leave(&path, reserve)?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|e| failed("create the temporary file", &path, e))?;
        let (hasher, mount) = (blake3::Hasher::new(), mount.clone());
        Ok(Self { file, path: Some(path), bytes: 0, hasher, reserve, mount })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        // Again: many puts that began together, each seeing enough room, would share it.
        if let Some(path) = &self.path {
            leave(path, self.reserve)?;
        }
        self.file.write_all(bytes).map_err(|e| self.failed("write", e))?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn finish(mut self, target: &Path) -> Result<Receipt, StoreError> {
        self.file.sync_all().map_err(|e| self.failed("sync", e))?;
        // Again: had it been unmounted just before the file was made, the file would be below the mount point.
        self.mount.check()?;
        if let Some(path) = &self.path {
            fs::rename(path, target).map_err(|e| failed("rename to", target, e))?;
        }
        self.path = None;
        target.parent().map_or(Ok(()), sync_dir)?;
        Ok(Receipt { bytes: self.bytes, hash: ContentHash::from(self.hasher.finalize()) })
    }

    fn failed(&self, action: &str, error: io::Error) -> StoreError {
        failed(action, self.path.as_deref().unwrap_or(Path::new("(renamed)")), error)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.path
            && let Err(error) = fs::remove_file(path)
        {
            tracing::warn!(path = %path.display(), %error, "could not remove a temporary file; a later start or sweep will");
        }
    }
}

/// Writes a stream of bytes to a file, one window behind the caller.
#[derive(Debug)]
pub struct FileWriter {
    target: PathBuf,
    /// Bytes that wait to be written.
    window: Pieces,
    sink: Sink,
    writes: Writes,
}

#[derive(Debug)]
enum Sink {
    Idle(Box<Unfinished>),
    Writing(JoinHandle<Result<Box<Unfinished>, StoreError>>),
    /// A write has failed; the error was returned.
    Broken,
}

impl Sink {
    async fn idle(&mut self) -> Result<Box<Unfinished>, StoreError> {
        match std::mem::replace(self, Self::Broken) {
            Self::Idle(file) => Ok(file),
            Self::Writing(writing) => joined(writing.await),
            Self::Broken => Err(StoreError::Io {
                context: "write to an object after an earlier write failed".to_owned(),
                source: io::Error::other("the writer is broken"),
            }),
        }
    }
}

impl FileWriter {
    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.window.push(bytes);
        if self.window.len() >= WINDOW_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        let mut file = self.sink.idle().await?;
        let window = self.window.take();
        let write = move || {
            window.iter().try_for_each(|bytes| file.append(bytes))?;
            Ok(file)
        };
        self.sink = Sink::Writing(self.writes.begin(write).await);
        Ok(())
    }

    pub(super) async fn finish(mut self) -> Result<Receipt, StoreError> {
        let mut file = self.sink.idle().await?;
        let (window, target) = (self.window.take(), self.target);
        let finish = move || {
            window.iter().try_for_each(|bytes| file.append(bytes))?;
            file.finish(&target)
        };
        self.writes.done(finish).await
    }
}

/// Room for one read. It is to be made outside of the blocking threads: memory goes back to the heap of the thread that
/// it came from, which can use it again only when it allocates. Of those threads there come to be dozens, each would keep
/// what it once made, and one file that is read by all of them in turn would be held many times over.
fn buffer() -> Vec<u8> {
    Vec::with_capacity(READ_BYTES)
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    path: PathBuf,
    remaining: u64,
}

impl OpenFile {
    /// The next bytes, in a buffer of [`buffer`]'s; what is much smaller than that gets one of its own size.
    fn read(&mut self, mut buffer: Vec<u8>) -> Result<Bytes, StoreError> {
        let size = READ_BYTES.min(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        if size < READ_BYTES / 2 {
            buffer = Vec::with_capacity(size);
        }
        buffer.resize(size, 0);
        self.file.read_exact(&mut buffer).map_err(|e| failed_read(&self.path, e))?;
        self.remaining -= size as u64;
        Ok(buffer.into())
    }
}

/// Reads a file in pieces of at most 256 KiB.
#[derive(Debug)]
pub struct FileReader {
    first: Bytes,
    rest: Option<OpenFile>,
}

impl FileReader {
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        if !self.first.is_empty() {
            return Ok(Some(std::mem::take(&mut self.first)));
        }
        match self.rest.take() {
            Some(mut file) if file.remaining > 0 => {
                let buffer = buffer();
                let (file, bytes) = blocking(move || file.read(buffer).map(|bytes| (file, bytes))).await?;
                self.rest = Some(file);
                Ok(Some(bytes))
            }
            _ => Ok(None),
        }
    }

    pub(super) fn remaining(&self) -> u64 {
        self.first.len() as u64 + self.rest.as_ref().map_or(0, |file| file.remaining)
    }
}

fn open(path: &Path) -> Result<Option<File>, StoreError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed("open", path, e)),
    }
}

/// The whole file, if its length is one of these: nothing is allocated for another.
fn read_whole(path: &Path, lengths: RangeInclusive<u64>) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(file) = open(path)? else { return Ok(None) };
    let length = file.metadata().map_err(|e| failed("look at", path, e))?.len();
    let other = |found| Err(other_length(format!("file {}", path.display()), found, &lengths));
    if !lengths.contains(&length) {
        return other(length);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(length).read_to_end(&mut bytes).map_err(|e| failed_read(path, e))?;
    // Cut off while it was read.
    if bytes.len() as u64 == length { Ok(Some(bytes)) } else { other(bytes.len() as u64) }
}

/// Why a file could not be read. A disk that has lost it says so each time.
fn failed_read(path: &Path, error: io::Error) -> StoreError {
    let what = format!("file {}", path.display());
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return StoreError::Corrupt { what, detail: "it is shorter than what is recorded of it".to_owned() };
    }
    let lost = error.raw_os_error().map(Errno::from_raw_os_error).is_some_and(|errno| LOST.contains(&errno));
    if lost {
        let detail =
            format!("{error}: see the kernel's log for its disk, and restore the file from a backup");
        return StoreError::Unreadable { what, detail };
    }
    failed("read", path, error)
}

fn create_dir(path: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(path).map_err(|e| failed("create the folder", path, e))
}

fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|e| failed("sync the folder", path, e))
}

/// The id of the store whose objects are in the folder `root`; `None` where there is no such folder, or none with an id.
/// Makes nothing.
///
/// # Errors
/// [`StoreError::Io`]; [`StoreError::Corrupt`] if it is no UUID.
pub async fn store_id_of(root: &Path) -> Result<Option<Uuid>, StoreError> {
    let root = root.to_owned();
    blocking(move || store_id_in(&root)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    joined(spawn_blocking(work).await)
}

fn joined<T>(result: Result<Result<T, StoreError>, tokio::task::JoinError>) -> Result<T, StoreError> {
    result.unwrap_or_else(|e| {
        Err(StoreError::Io { context: "run a file operation".to_owned(), source: io::Error::other(e) })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn so_many_write_at_once_as_may_in_order_and_who_reads_does_not_wait() {
        let home = tempfile::tempdir().unwrap();
        let options = FilesystemOptions { writes_max: 1, ..FilesystemOptions::default() };
        let files = Filesystem::open(home.path(), options, Writers::One).await.unwrap();
        let key = ObjectKey::new(ObjectKind::Original);
        files.put(&key, Bytes::from_static(b"there")).await.unwrap();
        let (end, ends) = mpsc::channel::<()>();
        let slow = files.writes.begin(move || Ok(ends.recv().is_ok())).await;
        let other = ObjectKey::new(ObjectKind::Original);
        let mut put = Box::pin(files.put(&other, Bytes::from_static(b"later")));
        assert!(futures_util::poll!(&mut put).is_pending());
        assert!(files.head(&key).await.unwrap().is_some() && files.get(&key, None).await.unwrap().is_some());
        assert_eq!(files.writes.0.available_permits(), 0);
        assert!(files.head(&other).await.unwrap().is_none(), "it waits");
        end.send(()).unwrap();
        assert!(joined(slow.await).unwrap());
        put.await.unwrap();
        assert!(files.head(&other).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_store_that_could_write_nothing_is_refused() {
        let options = FilesystemOptions { writes_max: 0, ..FilesystemOptions::default() };
        let error = Filesystem::open(Path::new("/nowhere"), options, Writers::One).await.unwrap_err();
        assert!(matches!(error, StoreError::InvalidOption { option: "writes_max", .. }), "{error}");
    }
}
