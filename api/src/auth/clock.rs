//! The times by which tokens, links and keys begin and end.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use darkroom_store::model::Timestamp;

/// A clock. Clones show the same time.
#[derive(Clone)]
pub struct Clock(Inner);

#[derive(Clone)]
enum Inner {
    Machine { started: Instant },
    Set(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's.
    pub fn machine() -> Self {
        Self(Inner::Machine { started: Instant::now() })
    }

    /// One that stands at so many milliseconds since the Unix epoch, and goes when it is set. For tests.
    pub fn set(millis: Arc<AtomicU64>) -> Self {
        Self(Inner::Set(millis))
    }

    /// The wall clock's time, which may jump.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Inner::Machine { .. } => Timestamp::now(),
            Inner::Set(millis) => Timestamp(millis.load(Ordering::Relaxed)),
        }
    }

    /// Time that only goes forward, from an unknown beginning: for how old something is.
    pub fn steady(&self) -> Duration {
        match &self.0 {
            Inner::Machine { started } => started.elapsed(),
            Inner::Set(millis) => Duration::from_millis(millis.load(Ordering::Relaxed)),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::machine()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now().0)
    }
}
