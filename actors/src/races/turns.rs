//! Who goes on next: one client at a time, from one pause to the next.
//!
//! A client runs until it comes to a pause, and whatever it waits for outside (the metadata's writer, a file, the compute
//! pool) has ended by then. So what happens between two pauses never overlaps, and the order of everything else is the
//! seed's. Pauses stand where another process could come in between: before a transaction reads, between what it read and
//! its commit, between the commit and its answer, between two pieces of a body, between two stages.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use darkroom_store::StoreError;
use darkroom_store::metadata::{Gate, Moment, Passing};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// One of these many moments is a pause.
const PAUSES_ONE_IN: u32 = 2;
/// One of these many commits has an outcome that its caller does not learn, and one is run again.
const UNKNOWN_ONE_IN: u32 = 40;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// No client: what runs is the test itself, or a task in the background.
    Nobodys,
    /// A client runs.
    Running,
    /// It has come to a pause.
    Paused,
}

thread_local! {
    static TURN: Cell<Turn> = const { Cell::new(Turn::Nobodys) };
}

/// Ends the client's turn; it goes on with its next.
#[derive(Default)]
pub(super) struct Pause(bool);

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 || TURN.get() == Turn::Nobodys {
            return Poll::Ready(());
        }
        self.0 = true;
        TURN.set(Turn::Paused);
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A client's errand.
pub(super) type Errand = Pin<Box<dyn Future<Output = ()>>>;

/// Lets a client go on to its next pause; whether its errand has ended.
pub(super) async fn turn(errand: &mut Errand) -> bool {
    poll_fn(|context| match touch(errand, context) {
        (Poll::Ready(()), _) => Poll::Ready(true),
        (Poll::Pending, Turn::Paused) => Poll::Ready(false),
        (Poll::Pending, _) => Poll::Pending,
    })
    .await
}

/// Lets a client begin its next step, and does not wait for what it waits for. It is not to be polled again.
pub(super) async fn begin_turn(errand: &mut Errand) {
    poll_fn(|context| {
        let _ = touch(errand, context); // Wherever it is now, its client dies.
        Poll::Ready(())
    })
    .await;
}

fn touch(errand: &mut Errand, context: &mut Context<'_>) -> (Poll<()>, Turn) {
    TURN.set(Turn::Running);
    let polled = errand.as_mut().poll(context);
    (polled, TURN.replace(Turn::Nobodys))
}

/// Pauses at the moments of transactions.
pub(super) struct Pauses(Mutex<StdRng>);

impl Pauses {
    pub(super) fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Gate for Pauses {
    fn pass(&self, _: &'static str, moment: Moment) -> Passing {
        if TURN.get() == Turn::Nobodys {
            return Box::pin(std::future::ready(Ok(())));
        }
        let mut random = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pauses = random.random_ratio(1, PAUSES_ONE_IN);
        let answer = match (moment, random.random_range(0..UNKNOWN_ONE_IN)) {
            (Moment::Committed, 0) => Err(StoreError::CommitUnknown),
            (Moment::Committed, 1) => Err(StoreError::Conflict),
            _ => Ok(()),
        };
        Box::pin(async move {
            if pauses {
                Pause::default().await;
            }
            answer
        })
    }
}
