//! Faults that tests inject at named points of the real daemon.
//!
//! The configuration takes them only together with `--open`, so that nobody can run a public daemon that
//! kills itself. Without faults a point costs one look at an empty list.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where a fault can strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// The original is in the object store; nothing refers to it yet.
    OriginalStored,
    /// The photo's transaction has decided and is about to commit.
    BeforeCommit,
    /// The photo's transaction has committed; the client does not know.
    PhotoCommitted,
    /// In the Decoder's message handler.
    DecoderHandler,
    /// On the compute pool, at the start of a decode.
    Decode,
    /// Between two variants being written.
    VariantStored,
    /// Every variant is in the object store; nothing refers to them yet.
    VariantsStored,
    /// The publishing transaction has decided and is about to commit.
    BeforePublish,
    /// The publishing transaction has committed.
    Published,
    /// An upload, resumable or direct, has a record; the client does not know.
    UploadBegun,
    /// A piece of an upload is in the object store; nothing refers to it yet.
    PieceStored,
    /// Pieces of an upload are committed; the client does not know.
    PieceCommitted,
    /// The heart is about to beat: leases to be extended, this node's record to be renewed. Only `skip` is for it.
    Heartbeat,
    /// The Indexer is about to apply entries of the change log, or to do a piece of what they led to.
    IndexerChunk,
}

/// What a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Panics.
    Panic,
    /// Ends the process as `kill -9` does.
    Kill,
    /// Stands still for `millis`.
    Pause,
    /// Leaves out what was about to happen.
    Skip,
}

/// A fault to inject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Where.
    pub point: Point,
    /// What.
    pub action: Action,
    /// Only for photos shown in this width; for all without.
    #[serde(default)]
    pub width: Option<u32>,
    /// Nothing before this file exists counts: a test makes it when the moment has come.
    #[serde(default)]
    pub armed_by: Option<PathBuf>,
    /// How many photos pass before it strikes.
    #[serde(default)]
    pub skip: u32,
    /// How often it strikes; for ever without.
    #[serde(default)]
    pub times: Option<u32>,
    /// How long a pause is, in milliseconds.
    #[serde(default)]
    pub millis: u64,
}

impl Fault {
    /// One that strikes every time, and pauses for no time.
    pub fn at(point: Point, action: Action) -> Self {
        Self { point, action, width: None, armed_by: None, skip: 0, times: None, millis: 0 }
    }
}

/// The configured faults, with how often each point was passed. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Arc<[(Fault, AtomicU32)]>);

impl Faults {
    pub(crate) fn new(faults: &[Fault]) -> Self {
        Self(faults.iter().map(|fault| (fault.clone(), AtomicU32::new(0))).collect())
    }

    /// A photo of this width passes this point.
    ///
    /// # Panics
    /// If a fault says so.
    pub(crate) fn pass(&self, point: Point, width: u32) {
        for (fault, passed) in &*self.0 {
            if fault.point == point
                && fault.width.is_none_or(|wanted| wanted == width)
                && strikes_now(fault, passed)
            {
                strike(fault);
            }
        }
    }

    /// Whether a fault says to leave out what is about to happen at this point.
    pub(crate) fn skips(&self, point: Point) -> bool {
        let mut here =
            self.0.iter().filter(|(fault, _)| fault.point == point && fault.action == Action::Skip);
        here.any(|(fault, passed)| strikes_now(fault, passed))
    }
}

fn strikes_now(fault: &Fault, passed: &AtomicU32) -> bool {
    if fault.armed_by.as_ref().is_some_and(|file| !file.exists()) {
        return false;
    }
    let number = passed.fetch_add(1, Ordering::Relaxed);
    let ends = fault.times.map_or(u32::MAX, |times| fault.skip.saturating_add(times));
    (fault.skip..ends).contains(&number)
}

fn strike(fault: &Fault) {
    match fault.action {
        Action::Panic => panic!("injected fault at {:?}", fault.point),
        // The whole thread, as a process that stands still would: nothing of it is to go on meanwhile.
        Action::Pause => std::thread::sleep(Duration::from_millis(fault.millis)),
        // Whoever is about to do it asks `skips`.
        Action::Skip => {}
        Action::Kill => {
            let killed =
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            unreachable!("SIGKILL to oneself does not return: {killed:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_where_when_and_as_often_as_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("armed");
        let fault = Fault {
            width: Some(100),
            armed_by: Some(file.clone()),
            skip: 1,
            times: Some(2),
            ..Fault::at(Point::Decode, Action::Panic)
        };
        let faults = Faults::new(&[fault]);
        let strikes = |point, width| std::panic::catch_unwind(|| faults.pass(point, width)).is_err();
        assert!((0..9).all(|_| !strikes(Point::Decode, 100)), "before it is armed");
        std::fs::write(file, "").unwrap();
        assert!(!strikes(Point::Decode, 99), "another width");
        assert!(!strikes(Point::Published, 100), "another point");
        let outcomes: Vec<_> = (0..4).map(|_| strikes(Point::Decode, 100)).collect();
        assert_eq!(outcomes, [false, true, true, false]);
    }

    #[test]
    fn what_is_skipped_is_asked_for_and_not_struck() {
        let fault = Fault { times: Some(1), ..Fault::at(Point::Heartbeat, Action::Skip) };
        let faults = Faults::new(&[fault, Fault::at(Point::Heartbeat, Action::Pause)]);
        faults.pass(Point::Decode, 1);
        assert!(faults.skips(Point::Heartbeat) && !faults.skips(Point::Heartbeat), "once");
        assert!(!faults.skips(Point::Decode));
    }
}
