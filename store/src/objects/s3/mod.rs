//! Objects in a bucket of an S3 server.

mod options;

pub use options::{Checksum, LifecycleOptions, PART_BYTES_MIN, S3Options, ServerSideEncryption};
