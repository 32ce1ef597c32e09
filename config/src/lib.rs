//! The configuration: a TOML file, then `DARKROOM__SECTION__KEY` variables, then flags.
//!
//! - [`sections`]: the file's types. Each section composes the options of one library. [`s3`]: the bucket's;
//!   [`auth`]: of users, keys, tokens and links; [`batches`]: of batches; [`direct`]: of what clients send to the bucket by
//!   themselves; [`people`]: of what people may do; [`feeds`]: of timelines and what trends; [`events`]: of event streams.
//! - [`load()`]: reads file and environment; [`error`]: says what is wrong, where, and what may be meant.
//!
//! [`DEFAULT_FILE`] is the whole file with every key, its default, and what it is for; a test holds it to
//! the types.
#![forbid(unsafe_code)]

pub mod auth;
pub mod batches;
pub mod direct;
pub mod error;
pub mod events;
pub mod feeds;
pub mod load;
pub mod people;
pub mod s3;
pub mod sections;

pub use error::ConfigError;
pub use load::load;
pub use sections::{Config, MetadataEngine};

/// Every key, commented, with its default: what `darkroomd default-config` prints.
pub const DEFAULT_FILE: &str = include_str!("../darkroom.toml");
