//! The compute pool: one thread per core for work on pixels.
//!
//! Its threads run below the async runtime's in OS priority, so that a GET never waits behind a decode.
//! Resizing goes before decoding, because it frees a frame while decoding makes one. A panic is caught and
//! returned as a value. The queue needs no limit of its own: every closure holds a pixel permit.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use darkroom_media::Scratch;
use tokio::sync::oneshot;

/// What goes first on the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Frees memory.
    Resize,
    /// Takes memory.
    Decode,
}

/// A closure panicked. Carries the panic's message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("panicked: {0}")]
pub struct Panicked(pub String);

type Work = Box<dyn FnOnce(&mut Scratch) + Send>;

#[derive(Default)]
struct Queue {
    resize: VecDeque<Work>,
    decode: VecDeque<Work>,
    running: usize,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    available: Condvar,
}

/// The pool. Dropped, it finishes what is queued.
pub struct ComputePool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// How far below the runtime's threads the pool's stand, in nice levels.
const NICENESS: i32 = 5;

impl ComputePool {
    /// Starts `threads` threads.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let threads = (0..threads)
            .map(|number| {
                let shared = shared.clone();
                std::thread::Builder::new().name(format!("compute-{number}")).spawn(move || shared.run())
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { shared, threads })
    }

    /// Runs `work` on the pool with the thread's scratch memory.
    ///
    /// # Errors
    /// [`Panicked`] if it panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        priority: Priority,
        work: impl FnOnce(&mut Scratch) -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let (reply, result) = oneshot::channel();
        self.shared.push(
            priority,
            Box::new(move |scratch| {
                let result = catch_unwind(AssertUnwindSafe(|| work(scratch)));
                if result.is_err() {
                    // It may have been left half-changed.
                    *scratch = Scratch::default();
                }
                // Nobody listens any more if the asker's task was dropped.
                let _ = reply.send(result.map_err(|panic| Panicked(message(&*panic))));
            }),
        );
        result.await.unwrap_or_else(|_| Err(Panicked("the compute pool is closed".to_owned())))
    }

    /// How many threads there are, how many work, and how much waits.
    pub fn load(&self) -> (usize, usize, usize) {
        let queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        (self.threads.len(), queue.running, queue.resize.len() + queue.decode.len())
    }
}

impl Drop for ComputePool {
    fn drop(&mut self) {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.shared.available.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn push(&self, priority: Priority, work: Work) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match priority {
            Priority::Resize => queue.resize.push_back(work),
            Priority::Decode => queue.decode.push_back(work),
        }
        drop(queue);
        self.available.notify_one();
    }

    fn run(&self) {
        // Linux gives each thread its own niceness; elsewhere this would slow down the whole process.
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::process::nice(NICENESS) {
            tracing::warn!(%error, "compute threads keep the runtime's priority");
        }
        let mut scratch = Scratch::default();
        while let Some(work) = self.next() {
            work(&mut scratch);
            self.queue.lock().unwrap_or_else(PoisonError::into_inner).running -= 1;
        }
    }

    fn next(&self) -> Option<Work> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let next = queue.resize.pop_front();
            if let Some(work) = next.or_else(|| queue.decode.pop_front()) {
                queue.running += 1;
                return Some(work);
            }
            if queue.closed {
                return None;
            }
            queue = self.available.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// What a panic said.
pub(crate) fn message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_value_and_the_thread_goes_on() {
        let pool = ComputePool::start(1).unwrap();
        let panicked = pool.run(Priority::Decode, |_| panic!("bad {}", "photo")).await;
        assert_eq!(panicked.map(|()| 0), Err(Panicked("bad photo".to_owned())));
        assert_eq!(pool.run(Priority::Decode, |_| 7).await, Ok(7));
        assert_eq!(pool.load().0, 1);
    }

    #[tokio::test]
    async fn resizing_goes_before_decoding() {
        let pool = ComputePool::start(1).unwrap();
        let (open, gate) = mpsc::channel::<()>();
        let (log, order) = mpsc::channel();
        let note = |what: &'static str| {
            let log = log.clone();
            move |_: &mut Scratch| log.send(what).unwrap()
        };
        let block = pool.run(Priority::Decode, move |_| gate.recv().unwrap());
        let decode = pool.run(Priority::Decode, note("decode"));
        let resize = pool.run(Priority::Resize, note("resize"));
        // Futures are lazy: poll each once, in this order, so that all are queued before the gate opens.
        let mut all = Box::pin(async { tokio::join!(block, decode, resize) });
        assert!(futures_util::poll!(&mut all).is_pending());
        open.send(()).unwrap();
        all.await.0.unwrap();
        assert_eq!(order.try_iter().collect::<Vec<_>>(), ["resize", "decode"]);
    }
}
