//! What the end-to-end tests stand on: the real `darkroomd`, started, spoken to over HTTP, killed and
//! restarted.
//!
//! - [`daemon`]: the process and its data directory.
//! - [`client`]: requests, and photos as clients see them.
//! - [`photos`](mod@photos): pictures to upload.
//! - [`clients`]: other people's clients.
//! - [`cutting`]: the bad network between a client and the daemon.
//! - [`power`]: what a power cut may leave of the data directory.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test harness fails by panicking")]
#![allow(clippy::print_stdout, reason = "a test says what it skips")]
#![expect(missing_docs, reason = "read by those who write tests, beside the code")]

use std::time::{Duration, Instant};

pub mod client;
pub mod clients;
pub mod cutting;
pub mod daemon;
pub mod photos;
pub mod power;

pub use client::{Answer, Client};
pub use clients::Clients;
pub use cutting::{Cutting, Weather};
pub use daemon::{Daemon, Setup};

/// A number from the environment: how large a test is to be.
pub fn scale(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Longest that anything is waited for, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until it is so. `what` says what never happened if it is not.
pub async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "it never happened that {what}");
        tokio::time::sleep(Duration::from_millis(10)).await; // Polling for the condition.
    }
}

/// Whether a program is installed; in CI it has to be.
pub fn has_program(name: &str) -> bool {
    let found = std::process::Command::new(name).arg("--version").output().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "CI must install {name}");
    found
}
