//! Panics: of those that leave the target the process ends, as libFuzzer wants it. Others are counted.
//!
//! libFuzzer's own hook ends the process at every panic, also at those of codecs that panic over damage and that the
//! decoder catches.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

struct Panic {
    place: String,
    said: String,
}

/// Of the present run.
static PANICS: Mutex<Vec<Panic>> = Mutex::new(Vec::new());

/// Where panics were caught, and how many.
static CAUGHT: Mutex<(BTreeSet<String>, u64)> = Mutex::new((BTreeSet::new(), 0));

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the place of the hook that libFuzzer has set.
pub fn watch() {
    std::panic::set_hook(Box::new(note));
}

fn note(info: &PanicHookInfo<'_>) {
    let place = info.location().map_or_else(String::new, ToString::to_string);
    let trace = Backtrace::capture();
    let said = match trace.status() {
        BacktraceStatus::Captured => format!("{info}\n{trace}"),
        _ => info.to_string(),
    };
    let mut panics = locked(&PANICS);
    panics.push(Panic { place, said });
    // While another unwinds it ends the process, and nobody will ask for it.
    if let [first, .., last] = panics.as_slice() {
        eprintln!("{}\n{}", first.said, last.said);
    }
}

/// Does what is tested. Ends the process if it panics, and prints those panics that it has caught itself, each place once.
pub(crate) fn watched<T>(tested: impl FnOnce() -> T) -> T {
    let outcome = catch_unwind(AssertUnwindSafe(tested));
    let panics = std::mem::take(&mut *locked(&PANICS));
    let Ok(outcome) = outcome else {
        // The last is the one that was not caught.
        eprintln!("{}", panics.last().map_or("a panic without words", |panic| panic.said.as_str()));
        std::process::abort();
    };
    for panic in panics {
        let (places, count) = &mut *locked(&CAUGHT);
        *count += 1;
        if places.insert(panic.place) {
            eprintln!("caught: {}", panic.said);
        }
    }
    outcome
}

/// Panics that what was tested has caught itself.
pub(crate) fn caught() -> u64 {
    locked(&CAUGHT).1
}
