//! `darkroom-bench` measures: how many photos a second are resized, how well, beside whom, and how many a server takes.
//!
//! | module | command |
//! |---|---|
//! | `resize` | `darkroom-bench resize`: probe, decode, resize and encode, in this process |
//! | `codecs` | `darkroom-bench codecs`: each block alone, on one thread |
//! | `cost` | `darkroom-bench cost`: memory and time that admission expects, beside the truth |
//! | `quality` | `darkroom-bench quality`: the default ladder's variants against a reference |
//! | `peers` | `darkroom-bench peers`: the same work with sharp, pyvips and Pillow |
//! | `sheet` | `darkroom-bench sheet`: a page of every variant, for eyes |
//! | `photos` | `darkroom-bench photos`: writes generated photos, for uploads and for other tools |
//! | `store` | `darkroom-bench store`: durable transactions a second of the metadata engine, beside redb |
//! | `upload` | `darkroom-bench upload`: a load generator for a running server |
//! | `bulk` | `darkroom-bench bulk`: very many small photos in one batch, and whether it accounts for every one |
//! | `overload` | `darkroom-bench overload`: more uploads than can be processed, at a fixed rate, and GETs beside |
//! | `slow` | `darkroom-bench slow`: a normal client beside a crowd that is as slow as can be |
//! | `jobs` | `darkroom-bench jobs`: claims from the durable queue, against contention |
//!
//! What they share: `engine` is all that `codecs`, `cost`, `quality`, `peers` and `sheet` know of darkroom-media; `folder` reads
//! photos from a folder, and `samples` generates them where none is given; `picture` decodes files for comparing, `lanczos`
//! makes the reference, `ssim` compares, and `likeness` is all three; `placeholder`
//! decodes hashes; `table` aligns columns. `server` is whom `bulk`, `overload` and `slow` load, `connection` speaks HTTP with it,
//! `memory` watches its process, and `unique` makes photos of which none is like another.

mod bulk;
mod codecs;
mod connection;
mod cost;
mod engine;
mod folder;
mod jobs;
mod lanczos;
mod likeness;
mod memory;
mod overload;
mod peers;
mod photos;
mod picture;
mod placeholder;
mod quality;
mod resize;
mod samples;
mod server;
mod sheet;
mod slow;
mod ssim;
mod store;
mod table;
mod unique;
mod upload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// As in `darkroomd`, so that the figures are those of the daemon.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures darkroom: resize throughput and quality, alone and beside its peers, and upload load.
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
    /// Measure each block alone on one thread: probe, decode, resize and encode, per format.
    Codecs(codecs::CodecsArgs),
    /// Compare what admission expects of a photo, in bytes and milliseconds, with what it takes on one thread.
    ///
    /// Generated photos of every kind go through the default ladder, once to JPEG and once to WebP, each in a process of its
    /// own. Bytes are what became resident beyond what was before. Fails if any took more than was expected. Linux only.
    Cost(cost::CostArgs),
    /// Compare the default ladder's variants with a reference: SSIM and PSNR.
    ///
    /// The reference is made from the fully decoded photo by Lanczos3 in floating point, without shrink-on-load and without a
    /// cascade. SSIM is that of Wang et al. (2004) on brightness; PSNR is over red, green and blue.
    Quality(quality::QualityArgs),
    /// Do the same work on the same photos with sharp, pyvips and Pillow, each used as its expert would.
    ///
    /// Installs the peers with npm and pip into a folder of their own below the target folder, and writes nowhere else. Needs
    /// node and npm, or python3; a side whose tools are missing is left out. Every side is given enough photos at once to keep all cores busy: darkroom a
    /// photo per thread, sharp several in flight, pyvips and Pillow a photo per process. CPU is user and
    /// system time as each side reports its own: darkroom's threads by their clocks, node and Python by getrusage.
    Peers(peers::PeersArgs),
    /// Write a page that shows every variant of every photo beside its original, for eyes.
    Sheet(sheet::SheetArgs),
    /// Write generated photos to a folder.
    Photos(photos::PhotosArgs),
    /// Measure durable transactions per second of the embedded metadata engine, beside redb and without syncs.
    ///
    /// A transaction reads one row and writes three of 200 bytes. First the disk's own rate is measured: 4 KiB appended
    /// and synced. redb gets all transactions that wait in one commit, as the engine does; only the engine checks
    /// conflicts. The sides take turns, and the medians of the rounds are told.
    Store(store::StoreArgs),
    /// Upload photos over many connections and measure what the server acknowledges and finishes.
    ///
    /// This is a load generator: point it only at servers that are yours to load.
    Upload(upload::UploadArgs),
    /// Send very many small photos in one batch, wait until all are ready, and compare with the batch's own counts.
    ///
    /// Tells uploads per second, photos ready per second, and the server's resident memory over time. Fails if the batch does
    /// not account for every photo. Starts a server of its own unless it is given --url.
    Bulk(bulk::BulkArgs),
    /// Send far more uploads than the server can process, at a fixed rate of arrival, and GETs of a ready variant beside.
    ///
    /// An open loop: each request has a time at which it is due, whatever became of those before, and latencies count from
    /// there. Before and after, the server's throughput is measured by itself. Every acknowledged photo is looked for
    /// afterwards: fails if one is not ready. Starts a server of its own unless it is given --url.
    Overload(overload::OverloadArgs),
    /// Measure what a normal client gets alone and beside a crowd of connections that are as slow as can be.
    ///
    /// Phases alone and beside the crowd take turns; the medians and their ratio are told. Starts a server of its own unless it
    /// is given --url.
    Slow(slow::SlowArgs),
    /// Claim due jobs with several nodes at once, choosing among the first 1, 8 and 64: claims per second, claims lost to
    /// another, and conflicts.
    ///
    /// The nodes are tasks of this process over one embedded store, each looking, choosing and claiming one job after another.
    Jobs(jobs::JobsArgs),
}

fn main() -> ExitCode {
    let outcome = match CommandLine::parse().command {
        Command::Resize(args) => resize::run(&args),
        Command::Codecs(args) => codecs::run(&args),
        Command::Cost(args) => cost::run(&args),
        Command::Quality(args) => quality::run(&args),
        Command::Peers(args) => peers::run(&args),
        Command::Sheet(args) => sheet::run(&args),
        Command::Photos(args) => photos::run(&args),
        Command::Store(args) => store::run(&args),
        Command::Upload(args) => upload::run(&args),
        Command::Bulk(args) => bulk::run(&args),
        Command::Overload(args) => overload::run(&args),
        Command::Slow(args) => slow::run(&args),
        Command::Jobs(args) => jobs::run(&args),
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
