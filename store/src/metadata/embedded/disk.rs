//! fjall, as the engine uses it: where the files lie, how rows are laid out in it, and its errors in our words.
//!
//! Layout of the directory: `lock` is ours, and held as long as anything of the database is in use; `closed` tells what
//! the last orderly end left; `fjall/` is the database. A new database is made in `fjall.new/` and renamed, because fjall cannot open what a crash left of
//! an unfinished creation.
//!
//! One keyspace holds everything. A second one for the few rows of bookkeeping would never fill its memtable,
//! and so keep every journal from being deleted. The first byte of a row's key tells the two apart, and lets the
//! empty key exist, which fjall refuses.
//!
//! Rows carry no checksum of their own, because fjall's suffice to tell corruption from absence: every block of
//! a table file (data, index and filter) has an xxh3 of 128 bits that is checked whenever it is read from disk
//! (`lsm_tree::table::block::Block::from_file`), and every batch in a journal has one that is checked when it is
//! replayed. A mismatch is an error, never "not found". What fjall takes for the end of a journal is looked at by
//! [`journal`](super::journal), and that nothing is missing at its very end is told by the file `closed`, which holds the
//! version at the last orderly end.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use fjall::{
    AbstractTree, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable, Snapshot,
};

use super::options::EmbeddedOptions;
use super::{closed, format, journal, manifest};
use crate::error::StoreError;
use crate::metadata::range::KeyRange;

/// First byte of the engine's own rows.
const ENGINE: u8 = 0;
/// First byte of the user's rows.
const DATA: u8 = 1;
/// The engine's row with the version of the last group, 8 bytes big-endian.
pub(super) const VERSION_KEY: [u8; 2] = [ENGINE, b'v'];

/// The open database. Dropping the last reference closes it and frees the directory.
pub(super) struct Disk {
    // Dropped in this order: the database waits for its threads, and only then the lock goes.
    keyspace: Keyspace,
    database: Database,
    _lock: File,
    path: PathBuf,
    memtable_bytes: u64,
    durability: PersistMode,
}

impl Disk {
    /// Opens or creates the database in `path`. Blocks.
    pub(super) fn open(path: &Path, options: &EmbeddedOptions) -> Result<Self, StoreError> {
        std::fs::create_dir_all(path)
            .map_err(|error| StoreError::io(format!("creating {}", path.display()), error))?;
        sync_name(path)?;
        let lock = lock(path)?;
        let home = path.join("fjall");
        let exists = home
            .try_exists()
            .map_err(|error| StoreError::io(format!("finding {}", home.display()), error))?;
        if exists {
            format::check(&home)?;
            manifest::check(&home)?;
            journal::check(&home)?;
        } else {
            create(path, &home, options)?;
        }
        let (database, keyspace) = open_database(&home, options)?;
        let memtable_bytes = options.memtable_bytes;
        let durability = if options.unsafe_no_sync { PersistMode::Buffer } else { PersistMode::SyncData };
        let disk =
            Self { keyspace, database, _lock: lock, path: path.to_owned(), memtable_bytes, durability };
        disk.check_version()?;
        Ok(disk)
    }

    /// Refuses a database that does not reach as far as it did when it was last closed.
    fn check_version(&self) -> Result<(), StoreError> {
        let (closed, version) = (closed::read(&self.path)?, self.version()?);
        if version >= closed {
            return Ok(());
        }
        Err(StoreError::Corrupt {
            what: self.path.display().to_string(),
            detail: format!(
                "the store was closed at version {closed}, but its files only reach version {version}"
            ),
        })
    }

    /// Notes that `version` is the last one of an orderly end.
    pub(super) fn note_close(&self, version: u64) {
        if let Err(error) = closed::write(&self.path, version) {
            // The next opening then has an older version to compare with, and misses less than nothing.
            tracing::warn!(%error, "the version at the end could not be noted");
        }
    }

    /// What is committed, as of now. Only the writer calls it, between commits.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.database.snapshot()
    }

    /// The version of the last group that is on disk; 0 in a new database.
    pub(super) fn version(&self) -> Result<u64, StoreError> {
        let stored = self.keyspace.get(VERSION_KEY).map_err(|error| failure("reading the version", error))?;
        let Some(stored) = stored else { return Ok(0) };
        let bytes = <[u8; 8]>::try_from(&*stored).map_err(|_| StoreError::Corrupt {
            what: "the version of the last commit".to_owned(),
            detail: format!("{} bytes instead of 8", stored.len()),
        })?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// The value of a user's key in `snapshot`.
    pub(super) fn get(&self, snapshot: &Snapshot, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value =
            snapshot.get(&self.keyspace, row_key(key)).map_err(|error| failure("reading a key", error))?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// The user's rows of `range` in `snapshot`, ascending, or descending from its end.
    pub(super) fn rows(
        &self,
        snapshot: &Snapshot,
        range: &KeyRange,
    ) -> impl DoubleEndedIterator<Item = Result<(Vec<u8>, Vec<u8>), StoreError>> + use<> {
        self.guards(snapshot, range).map(|row| {
            let (key, value) = row.into_inner().map_err(|error| failure("reading a range", error))?;
            Ok((key[1..].to_vec(), value.to_vec()))
        })
    }

    /// The user's keys of `range` in `snapshot`, ascending.
    pub(super) fn keys(
        &self,
        snapshot: &Snapshot,
        range: &KeyRange,
    ) -> impl Iterator<Item = Result<Vec<u8>, StoreError>> + use<> {
        self.guards(snapshot, range).map(|row| {
            let key = row.key().map_err(|error| failure("reading a range", error))?;
            Ok(key[1..].to_vec())
        })
    }

    fn guards(&self, snapshot: &Snapshot, range: &KeyRange) -> fjall::Iter {
        // An inverted range is an empty one; fjall's memtable panics on it.
        let end = if range.is_empty() { &range.begin } else { &range.end };
        snapshot.range(&self.keyspace, row_key(&range.begin)..row_key(end))
    }

    /// An empty batch for the group `version`, which it records. Committing it writes the journal, syncs it, then
    /// makes the rows visible (`OwnedWriteBatch::commit` in fjall 3.1: `write_batch`, `persist`, insertion into the
    /// memtables, `snapshot_tracker.publish`), all under the journal's lock. So no snapshot ever shows what is not
    /// on disk. A commit without a durability followed by `Database::persist` would publish first and sync later.
    pub(super) fn batch(&self, version: u64, rows: usize) -> Batch<'_> {
        let batch =
            OwnedWriteBatch::with_capacity(self.database.clone(), rows + 1).durability(Some(self.durability));
        let mut batch = Batch { disk: self, batch };
        batch.batch.insert(&self.keyspace, VERSION_KEY, version.to_be_bytes());
        batch
    }

    /// Seals the rows in memory when they have outgrown a memtable. fjall leaves that to its worker threads, and
    /// while those are busy merging, memory would grow without bound; once four sealed memtables wait to be
    /// written out, its next commit waits.
    pub(super) fn bound_memory(&self) {
        if self.keyspace.tree.active_memtable().size() <= self.memtable_bytes {
            return;
        }
        if let Err(error) = self.keyspace.rotate_memtable() {
            // What failed is deleting a journal that nobody needs any more; the rows are safe in the newer one.
            tracing::warn!(%error, "sealing a memtable");
        }
    }

    /// Bytes of rows in memory that are not yet in a table file.
    pub(super) fn write_buffer_bytes(&self) -> u64 {
        self.database.write_buffer_size()
    }

    /// Bytes that can still be written to the disk. Unlimited when the question itself fails: the write will tell.
    pub(super) fn free_bytes(&self) -> u64 {
        rustix::fs::statvfs(&self.path)
            .map_or(u64::MAX, |status| status.f_bavail.saturating_mul(status.f_frsize))
    }

    /// The directory given to `open`.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of all files of the database.
    pub(super) fn disk_bytes(&self) -> u64 {
        // Fails only when the journal's lock is poisoned, and then the figure is the least concern.
        self.keyspace.disk_space() + self.database.journal_disk_space().unwrap_or_default()
    }
}

/// The rows of one group on their way to the disk.
pub(super) struct Batch<'a> {
    disk: &'a Disk,
    batch: OwnedWriteBatch,
}

impl Batch<'_> {
    /// Sets the user's key `key`, or removes it.
    pub(super) fn put(&mut self, key: &[u8], value: Option<Vec<u8>>) {
        match value {
            Some(value) => self.batch.insert(&self.disk.keyspace, row_key(key), value),
            None => self.batch.remove(&self.disk.keyspace, row_key(key)),
        }
    }

    /// Writes and syncs; after it the rows are durable and visible. Sleeps when fjall is behind with writing out
    /// its memtables.
    pub(super) fn commit(self) -> Result<(), StoreError> {
        self.batch.commit().map_err(|error| failure("committing", error))
    }
}

/// Takes the lock of the directory, which lasts as long as the file is open.
fn lock(path: &Path) -> Result<File, StoreError> {
    let name = path.join("lock");
    let context = || format!("locking {}", name.display());
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(|error| StoreError::io(context(), error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(StoreError::io(context(), error)),
    }
}

/// Syncs the folder in which `path` was made: an older process may have made it and ended before that. Nobody else does so
/// where objects are elsewhere.
fn sync_name(path: &Path) -> Result<(), StoreError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(parent).and_then(|folder| folder.sync_all());
    synced.map_err(|error| StoreError::io(format!("syncing {}", parent.display()), error))
}

/// Makes an empty database at `home`, whole or not at all.
fn create(path: &Path, home: &Path, options: &EmbeddedOptions) -> Result<(), StoreError> {
    let unfinished = path.join("fjall.new");
    let context = || format!("creating {}", home.display());
    match std::fs::remove_dir_all(&unfinished) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(StoreError::io(context(), error)),
    }
    drop(open_database(&unfinished, options)?);
    sync_folders(&unfinished).map_err(|error| StoreError::io(context(), error))?;
    std::fs::rename(&unfinished, home).map_err(|error| StoreError::io(context(), error))?;
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|error| StoreError::io(context(), error))
}

/// Syncs every folder below `folder`, and it. fjall 3.1 syncs its files and most of its folders, but not the one in which
/// it makes a folder for each keyspace: their names could be lost in a power cut, and all rows with them.
fn sync_folders(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()
}

fn open_database(home: &Path, options: &EmbeddedOptions) -> Result<(Database, Keyspace), StoreError> {
    let in_words = |error| match error {
        fjall::Error::Locked => StoreError::InUse { path: home.to_owned() },
        error => failure(&format!("opening {}", home.display()), error),
    };
    let database = Database::builder(home)
        .cache_size(options.cache_bytes)
        .max_journaling_size(options.journal_bytes)
        .worker_threads(options.worker_threads)
        .open()
        .map_err(in_words)?;
    let keyspace = database
        .keyspace("metadata", || KeyspaceCreateOptions::default().max_memtable_size(options.memtable_bytes))
        .map_err(in_words)?;
    Ok((database, keyspace))
}

/// A user's key as fjall has it.
fn row_key(key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(key.len() + 1);
    row.push(DATA);
    row.extend_from_slice(key);
    row
}

/// A failure of fjall in the store's words.
fn failure(doing: &str, error: fjall::Error) -> StoreError {
    use fjall::{Error, LsmError};
    match error {
        Error::Io(source) | Error::Storage(LsmError::Io(source)) => StoreError::io(doing, source),
        Error::Poisoned => StoreError::Unavailable { reason: format!("{doing}: an earlier write failed") },
        error @ (Error::Locked | Error::KeyspaceDeleted) => {
            StoreError::Unavailable { reason: format!("{doing}: {error}") }
        }
        // Everything else that fjall reports is bytes it cannot make sense of.
        error => StoreError::Corrupt { what: doing.to_owned(), detail: error.to_string() },
    }
}
