//! `darkroomd`: the command line, wiring, telemetry, signals, start-up, shutdown. No logic.
//!
//! - `cli`: what can be said on the command line.
//! - `serve`: starts everything, waits, and ends it in order; `start`: what comes before requests are answered.
//! - `lock`: keeps other processes away from the data directory; `listen`: addresses, reserved before anything is opened.
//! - `stores`: opens the metadata and the objects that the configuration names.
//! - `commands`: the commands other than `serve`; `admin`: how they reach a running daemon; `alone`: what they open when
//!   there is none.
//! - `jobs`: those of them that look into the durable queue; `keys`: those that make API keys; `bucket`: those for the bucket of an S3 store.
//! - `import`: sends folders of photos.
//! - `telemetry`: logs and metrics.
#![forbid(unsafe_code)]

mod admin;
mod alone;
mod bucket;
mod cli;
mod commands;
mod health;
mod import;
mod jobs;
mod keys;
mod listen;
mod lock;
mod serve;
mod start;
mod stores;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

/// Freed frames go back to the system, so that the peak of one busy minute is not kept for ever.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => return tell(&told),
    };
    match cli::run(cli) {
        Ok(status) => status,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the last word of a failed command is for its user")]
            {
                eprintln!("darkroomd: {}", sentence(&error));
            }
            ExitCode::FAILURE
        }
    }
}

/// Help and version, or what is wrong with the arguments. Not with clap's status of 2, which says of an import that it did
/// not take every file.
fn tell(told: &clap::Error) -> ExitCode {
    let _ = told.print();
    if told.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// An error with what caused it, each cause once: many say what caused them by themselves.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use darkroom_store::StoreError;

    #[test]
    fn a_cause_that_its_error_names_already_is_not_said_twice() {
        let source = std::io::Error::other("no disk");
        let error = StoreError::Io { context: "reading /x".to_owned(), source };
        let error = anyhow::Error::new(error).context("could not open the metadata");
        assert_eq!(super::sentence(&error), "could not open the metadata: reading /x: no disk");
    }
}
