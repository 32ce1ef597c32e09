//! The client library's network thread: one for the whole process, started once and stopped last.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use ::foundationdb::FdbError;
use ::foundationdb::api::{FdbApiBuilder, NetworkStop, get_max_api_version};

use crate::error::StoreError;

/// The client library was asked for an API version that it does not have.
const API_VERSION_NOT_SUPPORTED: i32 = 2203;

/// What to do about a library that does not work.
const ADVICE: &str = "install the package foundationdb-clients of the cluster's version, 7.3";

static NETWORK: Mutex<Network> = Mutex::new(Network::NotStarted);

/// The library can be started once, and never again after it was stopped.
enum Network {
    NotStarted,
    Running { stop: NetworkStop, thread: JoinHandle<()> },
    Failed(String),
    Stopped,
}

/// Starts the network thread if it does not run yet.
pub(super) fn start() -> Result<(), StoreError> {
    let mut network = network();
    if matches!(*network, Network::NotStarted) {
        *network = boot().unwrap_or_else(Network::Failed);
    }
    match &*network {
        Network::Running { .. } => Ok(()),
        Network::Failed(reason) => Err(StoreError::Unavailable { reason: reason.clone() }),
        Network::NotStarted | Network::Stopped => {
            Err(StoreError::Unavailable { reason: "the process is about to end".to_owned() })
        }
    }
}

#[allow(
    unsafe_code,
    reason = "the client library must be stopped before the process ends, which no type can promise"
)]
fn boot() -> Result<Network, String> {
    let client = FdbApiBuilder::default().build().map_err(unsupported)?;
    let (runner, started) = client
        .build()
        .map_err(|error| format!("the FoundationDB client library cannot start: {error}; {ADVICE}"))?;
    if !stop_before_the_library_ends() {
        return Err(format!(
            "the FoundationDB client library cannot be stopped at the process's end; {ADVICE}"
        ));
    }
    let run = move || {
        // SAFETY: what is asked for is that the network is stopped, and its thread has ended, before the process ends.
        // `stop_at_exit` does both, in whatever way `main` returns or `exit` is called.
        if let Err(error) = unsafe { runner.run() } {
            tracing::error!(%error, "the network thread of the FoundationDB client library has failed");
        }
    };
    let thread = std::thread::Builder::new()
        .name("fdb-network".to_owned())
        .spawn(run)
        .map_err(|error| {
            format!(
                "the thread of the FoundationDB client library cannot start: {error}; raise the limit of processes \
                 (ulimit -u)"
            )
        })?;
    Ok(Network::Running { stop: started.wait(), thread })
}

fn unsupported(error: FdbError) -> String {
    if error.code() != API_VERSION_NOT_SUPPORTED {
        return format!("the FoundationDB client library cannot be used: {error}; {ADVICE}");
    }
    let newest = get_max_api_version();
    format!(
        "the installed FoundationDB client library (libfdb_c) knows the API up to version {newest}, and this build asks \
         for 730: install the package foundationdb-clients 7.3 or newer"
    )
}

/// Has the network stopped at the process's end, before anything that the library has made so far goes away: what is
/// registered last runs first. The library makes parts of itself when they are first used, and its thread looks at them
/// until it has ended, so this is called again whenever a store is left. False if that is not possible.
#[allow(unsafe_code, reason = "the C library alone tells when a process ends")]
pub(super) fn stop_before_the_library_ends() -> bool {
    // SAFETY: a call of a C function with a function of the kind that it asks for, which does not unwind and may run
    // more than once.
    unsafe { libc::atexit(stop_at_exit) == 0 }
}

/// Stops the network and waits for its thread. It neither logs nor panics, because much of the process is gone already.
extern "C" fn stop_at_exit() {
    let network = mem::replace(&mut *network(), Network::Stopped);
    let Network::Running { stop, thread } = network else { return };
    // On a thread of its own: what the library keeps for the thread that ends the process is gone already, and stopping
    // looks at it.
    let stopping = std::thread::Builder::new().spawn(move || {
        if stop.stop().is_ok() {
            // Its panic was printed when it happened.
            let _ = thread.join();
        }
    });
    if let Ok(stopping) = stopping {
        let _ = stopping.join();
    }
}

fn network() -> MutexGuard<'static, Network> {
    // Every change of it is one assignment.
    NETWORK.lock().unwrap_or_else(PoisonError::into_inner)
}
