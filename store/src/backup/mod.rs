//! Backups of the metadata: every row as of one moment in one file, and a store made again from it.
//!
//! In the order in which rows meet them:
//!
//! - `format`: how the file is laid out, and how damage is told from a whole one;
//! - `take`: rows of a running store on their way out, as bytes;
//! - `file`: those bytes written to a file, whole or not at all;
//! - `inspect`: reading a file, every byte of it checked;
//! - `restore`: a checked file into an empty store.
//!
//! Objects are not in it: they are files or a bucket, which have tools of their own. See `docs/backup.md` for what that
//! means.

mod file;
mod format;
mod inspect;
mod restore;
mod take;

pub use file::Target;
pub use format::{FORMAT_VERSION, Header, Summary};
pub use inspect::{Contents, inspect};
pub use restore::{Restored, check_not_cut_off, restore};
pub use take::Backup;
