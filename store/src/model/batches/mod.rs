//! Batches: many uploads that are followed as one.
//!
//! An upload that names a batch is counted, and noted as an item, in the transaction that makes its photo durable; what
//! becomes of the photo, in the transaction that settles it. So the counts are never ahead of the photos nor behind them.
//! Counts change by atomic adds alone, so that any number of uploads of a batch go on side by side, and nobody has to
//! look at its items for them: a batch may have hundreds of thousands.
//!
//! - `batch`: the record, from open to closed or cancelled;
//! - `counts`: how many items are in which state, and how fast they get there;
//! - `items`: what became of each file;
//! - `following`: what photos' transactions do for their batch;
//! - `expiry`: a batch that nothing has happened to for long is removed, a few rows at a time.

mod batch;
mod counts;
mod expiry;
mod following;
mod items;

pub use batch::{
    Batch, NotAdmitted, Opened, Opening, Standing, Told, admission, cancel, close, count_open, get, list,
    open,
};
pub use counts::{BUCKET, Counts, Progress, Recent, progress};
pub use expiry::{Expired, due, expire};
pub use following::{Refusal, refused};
pub use items::{Item, ItemState, Listed, Outcome, list_items};

pub(super) use following::{duplicate_received, photo_moved, photo_received};
