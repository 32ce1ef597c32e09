//! Whether the folder of objects is still the one that was opened.
//!
//! What is mounted may be unmounted while the daemon runs. The folder's path then leads to the disk below the mount
//! point: what is put there is hidden when the mount comes back, and whatever is looked for seems never to have been. The
//! device of the folder tells. Where it is another one, the store's id in the folder decides, since a network file system
//! may get a new device number each time that it is mounted.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::super::STORE_ID_BYTES_MAX;
use super::read_whole;
use super::room::failed;
use crate::StoreError;

/// A folder of objects, and how to know it again.
#[derive(Debug)]
pub(super) struct Mount {
    root: Arc<Path>,
    known: Mutex<Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    device: u64,
    /// None until somebody has read or written it.
    store_id: Option<Uuid>,
}

impl Mount {
    /// The folder as it is now. Blocks.
    pub(super) fn of(root: Arc<Path>) -> Result<Self, StoreError> {
        let device = fs::metadata(&root).map_err(|e| failed("look at", &root, e))?.dev();
        Ok(Self { root, known: Mutex::new(Known { device, store_id: None }) })
    }

    /// Remembers whose objects these are: an object store is one store's for ever.
    pub(super) fn belongs_to(&self, store_id: Uuid) {
        self.known().store_id.get_or_insert(store_id);
    }

    /// Refuses to go on where the path leads to another folder than the one that was opened. Blocks.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let device = match fs::metadata(&self.root) {
            Ok(root) => root.dev(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(self.lost("it is not there")),
            Err(e) => return Err(failed("look at", &self.root, e)),
        };
        let known = *self.known();
        if device == known.device {
            return Ok(());
        }
        match (store_id_in(&self.root)?, known.store_id) {
            (Some(found), Some(expected)) if found == expected => {
                self.known().device = device;
                Ok(())
            }
            (Some(found), _) => Err(self.lost(&format!("there now are the objects of store {found}"))),
            (None, _) => {
                Err(self.lost("there now is a folder without a store-id, perhaps below a mount point"))
            }
        }
    }

    fn lost(&self, found: &str) -> StoreError {
        StoreError::Unavailable {
            reason: format!(
                "the folder of objects {} is no longer on the file system that it was on at the start: {found}; mount \
                 it again (the daemon goes on by itself then)",
                self.root.display()
            ),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Every change of it is one assignment.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the store's id is, in a folder of objects.
pub(super) fn store_id_path(root: &Path) -> PathBuf {
    root.join("store-id")
}

/// The store's id, if the folder is there and has one. Blocks.
pub(super) fn store_id_in(root: &Path) -> Result<Option<Uuid>, StoreError> {
    let path = store_id_path(root);
    let Some(text) = read_whole(&path, 0..=STORE_ID_BYTES_MAX)? else { return Ok(None) };
    let id = Uuid::parse_str(String::from_utf8_lossy(&text).trim());
    id.map(Some).map_err(|e| StoreError::Corrupt {
        what: format!("store id in {}", path.display()),
        detail: e.to_string(),
    })
}
