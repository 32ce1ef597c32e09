//! Reasons to end early.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// Why an import ends before it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// A signal asked for it.
    Interrupted,
    /// Going on makes no sense, and this says why.
    Hopeless(String),
}

/// Ends an import: what is in flight is finished, and nothing new begun. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    token: CancellationToken,
    why: Arc<OnceLock<Why>>,
}

impl Stop {
    /// Ends it; the first reason counts.
    pub(super) fn because(&self, why: Why) {
        let _ = self.why.set(why);
        self.token.cancel();
    }

    pub(super) fn why(&self) -> Option<&Why> {
        self.why.get()
    }

    pub(super) fn is_asked(&self) -> bool {
        self.token.is_cancelled()
    }

    pub(super) async fn asked(&self) {
        self.token.cancelled().await;
    }

    pub(super) fn token(&self) -> &CancellationToken {
        &self.token
    }
}
