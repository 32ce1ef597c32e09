//! A photo's record and its way: created `processing`, then `ready` or `failed`, until it is deleted.
//!
//! Readers see one of these states and never half of one, because each change is one transaction that
//! moves everything which must move together: record, indexes, job, blob reference, intents, counters,
//! change log. In the order of a photo's life:
//!
//! - `photo`: the record, and what reads it;
//! - `creating`: the transaction after which an upload is acknowledged;
//! - `settling`: ready, failed, tried again;
//! - `fields`, `editing`: what its owner says of it, and who may see it; `downloads`: how often it was sent to others;
//! - `deleting`: gone.

mod creating;
mod deleting;
mod downloads;
mod editing;
mod fields;
mod photo;
mod settling;

pub use creating::{Created, Creation, Seen, create};
pub use deleting::{delete, delete_of};
pub use downloads::{downloaded, downloads};
pub use editing::{Edited, Editing, edit};
pub use fields::{Fields, TAGS_MAX, TITLE_CHARS_MAX};
pub use photo::{
    Failure, Made, ORIGINAL_MISSING, Original, Photo, State, Variant, count_of, counts, get, list, of_content,
};
pub use settling::{Settled, Settling, fail, give_up, publish, request_render};

pub(super) use photo::put;
pub(super) use settling::{forget_unrenderable, give_up_unfinished, revive};
