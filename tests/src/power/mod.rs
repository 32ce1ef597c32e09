//! What a power cut may leave of a data directory.
//!
//! `kill -9` proves nothing about fsync, because the page cache survives it. So the real daemon runs under a recorder,
//! which logs what it does to its files; from any place in the log the disk is rebuilt as it may stand when the power
//! goes at that moment, and a daemon is started on it.
//!
//! - [`recorder`]: builds the library that records (`tests/power/recorder.c`), and has a daemon load it.
//! - [`log`]: what it wrote.
//! - [`content`], [`file`](mod@file): a file's bytes in sectors; what may be on disk of its changes.
//! - [`disk`]: all files and folders, replayed up to the cut; what may be on disk of their names.
//! - [`chance`]: what survives of that which was not synced.
//! - [`sites`]: the places in darkroom's code that sync, so that one can be left out.
//! - [`load`], [`recording`], [`verdict`]: clients that note what they were promised, a daemon recorded under them, and
//!   whether a daemon on the rebuilt disk keeps the promises.
//!
//! # The disk that is assumed
//!
//! As bad as POSIX allows, and in what POSIX leaves open no worse than ext4, XFS and btrfs are:
//!
//! - `fsync` and `fdatasync` that have returned make durable what was written to that file and its size, as of when
//!   they were called; nothing else does. Neither makes the file's name durable: only a sync of the folder does,
//!   which covers all changes of that folder's own names, in either direction, and nothing of its subfolders or its
//!   files. (ext4 and XFS do more: the first sync of anything commits all names that were made before. That is not
//!   relied on.)
//! - What was written and not synced is there or not, in any combination of sectors of 512 bytes. A sector holds what
//!   the page cache had for it at some moment since the last sync: of two writes to one sector the second never
//!   arrives without the first. A hole that a lost sector leaves reads as what was there before, or as zeros.
//! - The size of a file is one that it had since the last sync. It may be larger than what has arrived of the bytes.
//!   What was cut off is gone or not as a whole, and nothing that was written later beyond that end is there while it
//!   is not.
//! - Changes of names arrive in order within a folder; between folders in any order. A rename within a folder is one
//!   step. One between folders never loses the file: its old name goes only when the new one is there, which may be
//!   later. (In ext4 and XFS it is one step too. Were it one here, the folder of temporary files, from which everything
//!   is renamed, would put all puts into one order, and the sync of any would cover all before it.)
//! - A name may be there before the bytes of its file: the file is then empty, or torn.
//! - Disks do not lie: what was synced is read back. Rotten bytes are not the matter of these tests.

pub mod chance;
pub mod content;
pub mod disk;
pub mod file;
pub mod load;
pub mod log;
pub mod recorder;
pub mod recording;
pub mod sites;
pub mod verdict;

pub use chance::{Chance, Survivors};
pub use disk::{Disk, Tree};
pub use load::Promise;
pub use log::Log;
pub use recorder::Recorder;
pub use recording::Recording;
pub use sites::Site;

#[cfg(test)]
mod tests;
