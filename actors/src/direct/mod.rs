//! Direct uploads: clients send bytes to the bucket by themselves, with URLs that are signed here.
//!
//! - [`options`](DirectOptions): how they are taken. `open`: announced, and given URLs. `finish`: looked at, copied by
//!   the server to a key of its own, and made a photo. `found`: objects that others have put into the bucket. `sweep`:
//!   what of them ends by time.
//!
//! A URL says nothing of what is sent to it, and outlives every look at what was. So nothing is believed of what lies
//! under an upload key, and no photo refers to it: the copy is looked at, which nobody can write to any more.

mod error;
mod finish;
mod found;
mod open;
mod options;
mod sweep;

pub use error::{DirectError, refusal};
pub use finish::Sent;
pub use found::Found;
pub use open::{NewDirect, PartUrl};
pub use options::DirectOptions;
pub(crate) use sweep::sweep;
