//! `darkroom-bench` measures: how many photos a second are resized, and how many a server takes.
//!
//! | module | command |
//! |---|---|
//! | `resize` | `darkroom-bench resize`: probe, decode, resize and encode, in this process |
//! | `photos` | `darkroom-bench photos`: writes generated photos, for uploads and for other tools |
//! | `upload` | `darkroom-bench upload`: a load generator for a running server |
//! | `folder` | reading photos from a folder, for the two others |

mod folder;
mod photos;
mod resize;
mod upload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// As in `darkroomd`, so that the figures are those of the daemon.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures darkroom: resize throughput and upload load.
#[derive(Debug, Parser)]
#[command(name = "darkroom-bench", version, about)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure photos per second through the ladder of presets, per stage and for 1 to N threads.
    Resize(resize::ResizeArgs),
    /// Write generated photos to a folder.
    Photos(photos::PhotosArgs),
    /// Upload photos over many connections and measure what the server acknowledges and finishes.
    ///
    /// This is a load generator: point it only at servers that are yours to load.
    Upload(upload::UploadArgs),
}

fn main() -> ExitCode {
    let outcome = match CommandLine::parse().command {
        Command::Resize(args) => resize::run(&args),
        Command::Photos(args) => photos::run(&args),
        Command::Upload(args) => upload::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("darkroom-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::CommandLine::command().debug_assert();
    }
}
