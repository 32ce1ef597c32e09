//! The future that ends when a watched key may have changed.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

/// Ends after the watched key's value changed, or early (the store was closed, too many watches). It is a
/// hint: look again after it. Dropping it gives the watch up.
#[derive(Debug)]
#[must_use = "a watch does nothing unless it is awaited"]
pub struct Watch {
    changed: oneshot::Receiver<()>,
}

/// The engine's side of a [`Watch`]: firing or dropping it ends the watch.
#[derive(Debug)]
pub(crate) struct WatchSender(oneshot::Sender<()>);

impl Watch {
    /// A watch and what ends it.
    pub(crate) fn pair() -> (WatchSender, Self) {
        let (sender, changed) = oneshot::channel();
        (WatchSender(sender), Self { changed })
    }
}

impl WatchSender {
    /// Whether nobody waits any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.0.is_closed()
    }

    /// Ends when nobody waits any more.
    #[cfg(feature = "foundationdb")]
    pub(crate) async fn abandoned(&mut self) {
        self.0.closed().await;
    }
}

impl Future for Watch {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // A dropped sender ends the watch like a change does: the caller looks again either way.
        Pin::new(&mut self.changed).poll(context).map(drop)
    }
}
