//! Temporary files: whose they are, and which of them may go.
//!
//! One is named `<epoch>.<handle>.<number>`: the epoch of the node that writes it (`new` before it has one), a random id of
//! the store's handle in that process, and a number. In a folder that nodes share nobody can tell by looking at another's
//! file whether it is still being written. The metadata can: a dead epoch publishes nothing any more, whether its process
//! is over or has not noticed yet. So who opens the folder leaves the files of others alone, and the Janitor removes those
//! of epochs that are dead, when it sweeps their intents.

use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use uuid::Uuid;

use super::room::failed;
use crate::StoreError;
use crate::model::Epoch;

/// Stands in a name in place of the epoch.
const WITHOUT_EPOCH: &str = "new";
/// After this time a file without an epoch is nobody's: the store's id, which is the only thing that is written without
/// one, takes no longer. An older darkroomd named all of its files so, and no put takes so long either.
const NOBODYS_AFTER: Duration = Duration::from_secs(24 * 3600);

/// A temporary file that another handle of the store has made, in a folder that nodes share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    pub(super) path: PathBuf,
    epoch: Option<Epoch>,
}

impl Leftover {
    /// Whose it is: it may be removed once that epoch is dead and swept. `None`: nobody's.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }
}

/// Names temporary files. Its clones name others.
#[derive(Clone, Debug)]
pub(super) struct Temporary {
    folder: Arc<Path>,
    epoch: Option<Epoch>,
    /// Random, so that no two handles ever choose the same name.
    handle: Uuid,
    number: Arc<AtomicU64>,
}

impl Temporary {
    pub(super) fn below(root: &Path) -> Self {
        Self { folder: root.join("tmp").into(), epoch: None, handle: Uuid::new_v4(), number: Arc::default() }
    }

    /// The same for files that `epoch` writes.
    pub(super) fn of_epoch(&self, epoch: Epoch) -> Self {
        Self { epoch: Some(epoch), ..self.clone() }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of a file that is not there yet.
    pub(super) fn next(&self) -> PathBuf {
        let epoch = self.epoch.map_or_else(|| WITHOUT_EPOCH.to_owned(), |epoch| epoch.to_string());
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        self.folder.join(format!("{epoch}.{}.{number}", self.handle.simple()))
    }

    /// Removes every file: where one process has the folder to itself, they are of dead ones. Blocks.
    pub(super) fn remove_all(&self) -> Result<(), StoreError> {
        self.each(|entry| remove(&entry.path()).map(drop))
    }

    /// The files of other handles, but for those without an epoch that may still be written. Blocks.
    pub(super) fn leftovers(&self) -> Result<Vec<Leftover>, StoreError> {
        let own = self.handle.simple().to_string();
        let mut found = Vec::new();
        self.each(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let (epoch, rest) = name.split_once('.').unwrap_or_default();
            let epoch = epoch.parse().ok().map(Epoch);
            if !rest.starts_with(&own) && (epoch.is_some() || is_old(&entry)) {
                found.push(Leftover { path: entry.path(), epoch });
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn each(&self, mut act: impl FnMut(DirEntry) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let context = |error| failed("list", &self.folder, error);
        fs::read_dir(&self.folder).map_err(context)?.try_for_each(|entry| act(entry.map_err(context)?))
    }
}

/// Removes a temporary file; false if it has gone by itself.
pub(super) fn remove(path: &Path) -> Result<bool, StoreError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("remove the temporary file", path, error)),
    }
}

/// Whether it was last written long ago. What cannot be asked stays for another time.
fn is_old(entry: &DirEntry) -> bool {
    let written = entry.metadata().and_then(|file| file.modified());
    written.is_ok_and(|written| written.elapsed().is_ok_and(|age| age > NOBODYS_AFTER))
}
