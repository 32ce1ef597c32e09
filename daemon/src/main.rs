//! `darkroomd`: the command line, wiring, telemetry, signals, start-up, shutdown. No logic.
//!
//! - `cli`: what can be said on the command line.
//! - `serve`: starts everything, waits, and ends it in order.
//! - `stores`: opens the metadata and the objects that the configuration names.
//! - `commands`: the commands other than `serve`; `admin`: how they reach a running daemon.
//! - `jobs`: those of them that look into the durable queue; `bucket`: those for the bucket of an S3 store.
//! - `telemetry`: logs and metrics.
#![forbid(unsafe_code)]

mod admin;
mod bucket;
mod cli;
mod commands;
mod health;
mod jobs;
mod lock;
mod serve;
mod stores;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

/// Freed frames go back to the system, so that the peak of one busy minute is not kept for ever.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the last word of a failed command is for its user")]
            {
                eprintln!("darkroomd: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}
