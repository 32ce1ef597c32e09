//! The places in darkroom's own code that sync, told apart by what is synced and what has happened to it before.
//! Leaving a place's syncs out of a replay is what removing the call from the code would do.

use std::collections::{BTreeMap, BTreeSet};

use super::disk::{Disk, Syncing};
use super::log::{Event, What};

/// A call in the code that syncs.
///
/// One is not here: `Filesystem::open` syncs `objects/` after making the folders in it. At a first start the store's
/// id is put there right after, and its sync covers them too; later the folders are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    /// `Unfinished::finish` in `store/src/objects/filesystem.rs` syncs the file: an original's.
    OriginalFile,
    /// The same call for a variant.
    VariantFile,
    /// The same call for the store's id.
    StoreIdFile,
    /// `Unfinished::finish` syncs the folder into which an original was renamed.
    OriginalFolder,
    /// The same call for a variant.
    VariantFolder,
    /// The same call for the store's id.
    StoreIdFolder,
    /// `Filesystem::delete` syncs the folders from which objects were deleted.
    DeletedFolder,
    /// `Filesystem::open` syncs the folder of each kind, in which the 256 folders were made.
    ShardFolders,
    /// `Filesystem::open` syncs the data directory, in which `objects` was made, and `Disk::open` in
    /// `store/src/metadata/embedded/disk.rs`, in which `metadata` was (with objects in S3 nobody else does).
    DataFolder,
    /// `daemon/src/lock.rs` syncs the folder in which the data directory was made.
    HomeFolder,
    /// `create` in `store/src/metadata/embedded/disk.rs` syncs the folder in which it renamed the new database.
    DatabaseName,
    /// `create` syncs the folders of the new database, which fjall leaves to the file system.
    DatabaseFolders,
    /// `write` in `store/src/metadata/embedded/closed.rs` syncs the note of an orderly end before renaming it. Its folder is
    /// synced afterwards, which is not here: the note before it is a lower bound too.
    ClosedFile,
    /// `Disk::batch` in `store/src/metadata/embedded/disk.rs` asks fjall for `PersistMode::SyncData` with each commit.
    Journal,
}

impl Site {
    /// Every place whose syncs the promises rest on.
    pub const ALL: [Self; 14] = [
        Self::OriginalFile,
        Self::VariantFile,
        Self::StoreIdFile,
        Self::OriginalFolder,
        Self::VariantFolder,
        Self::StoreIdFolder,
        Self::DeletedFolder,
        Self::ShardFolders,
        Self::DataFolder,
        Self::HomeFolder,
        Self::DatabaseName,
        Self::DatabaseFolders,
        Self::ClosedFile,
        Self::Journal,
    ];

    /// Whose sync this is, by what can be told when it begins. `last_path` is where the file ends up.
    fn of(syncing: &Syncing, data_only: bool, last_path: &str) -> Option<Self> {
        let path = syncing.path.as_str();
        let parts: Vec<&str> = path.split('/').collect();
        match parts.as_slice() {
            ["data", "objects", "tmp", _] => match last_path.split('/').nth(2) {
                Some("originals") => Some(Self::OriginalFile),
                Some("variants") => Some(Self::VariantFile),
                Some("store-id") => Some(Self::StoreIdFile),
                _ => None,
            },
            ["data", "objects", "originals", _] if !syncing.came.is_empty() => Some(Self::OriginalFolder),
            ["data", "objects", "variants", _] if !syncing.came.is_empty() => Some(Self::VariantFolder),
            ["data", "objects", "originals" | "variants", _] if syncing.went > 0 => Some(Self::DeletedFolder),
            ["data", "objects", "originals" | "variants"] => Some(Self::ShardFolders),
            ["data", "objects"] if syncing.came.iter().any(|name| name == "store-id") => {
                Some(Self::StoreIdFolder)
            }
            ["data"] => Some(Self::DataFolder),
            [""] => Some(Self::HomeFolder),
            ["data", "metadata"] if syncing.came.iter().any(|name| name == "fjall") => {
                Some(Self::DatabaseName)
            }
            ["data", "metadata", "fjall.new", "keyspaces"] if !syncing.came.is_empty() => {
                Some(Self::DatabaseFolders)
            }
            ["data", "metadata", .., "closed.new"] => Some(Self::ClosedFile),
            ["data", "metadata", "fjall", name] if data_only && name.contains(".jnl") => Some(Self::Journal),
            _ => None,
        }
    }

    /// The numbers of the syncs that each place made.
    pub fn syncs(found: &Disk<'_>, events: &[Event<'_>]) -> anyhow::Result<BTreeMap<Self, BTreeSet<u64>>> {
        let mut disk: Disk<'_> = found.clone();
        let mut seen = Vec::new();
        for event in events {
            if let What::SyncBegun { inode, number, data_only } = event.what {
                seen.push((disk.syncing(inode)?, number, data_only));
            }
            disk.apply(event.what)?;
        }
        let mut sites: BTreeMap<Self, BTreeSet<u64>> = BTreeMap::new();
        for (syncing, number, data_only) in seen {
            if let Some(site) = Self::of(&syncing, data_only, &disk.path(syncing.node)) {
                sites.entry(site).or_default().insert(number);
            }
        }
        Ok(sites)
    }
}
