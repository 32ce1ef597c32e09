//! The pipeline: every actor, background loop, permit and compute thread. The only crate that names ractor.
//!
//! In the order in which a photo meets them:
//!
//! - [`permits`]: the front door. Without a lease nothing enters; permits ride with what they pay for. `turns`: how
//!   clients share it where there is no room for all.
//! - `stages`: Ingestor, Decoder, Resizer, Uploader, Publisher. One actor each.
//! - `work`: what travels between them.
//! - [`compute`]: the threads that decode and resize.
//! - `held`: durable jobs that this process holds. `heart`: what keeps them, and this node, alive. `keys`: object
//!   keys with durable intents.
//! - `backlog` and `reconciler`: waiting jobs come back into the pipeline.
//! - `processing`: how many photos are to be processed, which uploads are refused by.
//! - `originals`: originals without what is private, beside the way of a photo.
//! - `uploads`: files that come in more than one request, until they are whole.
//! - [`direct`]: uploads that clients send to the object store by themselves.
//! - [`events`]: what happens, told to those who are connected.
//! - [`outcomes`]: who waits for a photo to be settled.
//! - [`janitor`]: deletes what nothing refers to.
//! - [`indexer`]: carries out what follows from the change log: timelines, tags, trends.
//! - `supervisor`: starts the stages, sink first, and again when one dies. **The way of a photo is read in
//!   its `start_generation`.**
//! - [`pipeline`]: the handle that everybody outside holds.
//! - [`faults`]: faults that tests inject.
#![forbid(unsafe_code)]

mod backlog;
pub mod compute;
pub mod direct;
mod errand;
mod error;
pub mod events;
mod expiry;
pub mod faults;
mod heart;
mod held;
pub mod indexer;
pub mod janitor;
mod keys;
mod line;
mod options;
mod originals;
pub mod outcomes;
pub mod permits;
pub mod pipeline;
mod processing;
#[cfg(test)]
mod races;
mod reconciler;
mod stages;
mod supervisor;
pub mod telemetry;
mod turns;
mod uploads;
mod work;

use backlog::Backlog;

/// The words of the media engine that the API speaks too.
pub use darkroom_media::{MediaError, Preset, WITHOUT_PRIVATE_VERSION};
pub use error::{BodyError, IngestError, StartError};
pub use indexer::FeedOptions;
pub use janitor::{JanitorReport, LettersKept, Sweep};
pub use options::PipelineOptions;
pub use originals::{HeldBytes, StripError, strippable};
pub use permits::{Lease, Refused};
pub use pipeline::Pipeline;
pub use stages::ingestor::{Body, Ingested, Stored, Upload};
pub use turns::Party;
pub use uploads::{AppendError, Check, Chunk, Held, Last, NotHeld, UploadOptions};
