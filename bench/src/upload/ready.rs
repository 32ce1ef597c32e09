//! Waiting until the server has rendered what it took.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use indicatif::ProgressBar;

use super::load::PhotoRecord;
use crate::connection::{Connection, Target};

/// Connections that ask. Few, because each question costs the server that is being measured.
const ASKING: usize = 4;
/// Pause between two questions about the same photo.
const PAUSE: Duration = Duration::from_millis(50);

/// What became of the photos.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    pub(crate) ready: u64,
    pub(crate) failed: u64,
    /// Still processing, or unanswered, when the time was over.
    pub(crate) unfinished: u64,
    /// When the last one was found ready or failed.
    pub(crate) last: Option<Instant>,
}

/// Asks for each photo, in the order in which they were taken, until it is ready or has failed, or the time is over.
pub(crate) async fn wait(target: &Target, ids: Vec<String>, time: Duration, bar: ProgressBar) -> Finished {
    let deadline = Instant::now() + time;
    // A photo may have been acknowledged more than once.
    let mut unique = ids;
    unique.sort_unstable();
    unique.dedup();
    bar.set_length(unique.len() as u64);
    // Ids are UUIDv7, so sorted they stand in the order of their making.
    let queue = Arc::new(Mutex::new(VecDeque::from(unique)));
    let askers: Vec<_> = (0..ASKING)
        .map(|_| tokio::spawn(ask(target.clone(), Arc::clone(&queue), deadline, bar.clone())))
        .collect();
    let mut sum = Finished::default();
    for asker in askers {
        let ready = asker.await.unwrap_or_default();
        sum.ready += ready.ready;
        sum.failed += ready.failed;
        sum.unfinished += ready.unfinished;
        sum.last = sum.last.max(ready.last);
    }
    sum
}

/// One connection's questions.
async fn ask(
    target: Target,
    queue: Arc<Mutex<VecDeque<String>>>,
    deadline: Instant,
    bar: ProgressBar,
) -> Finished {
    let mut found = Finished::default();
    let mut connection = None;
    loop {
        let id = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(id) = id else {
            return found;
        };
        match state(&target, &mut connection, &id, deadline).await.as_deref() {
            Some("ready") => found.ready += 1,
            Some(_) => found.failed += 1,
            None => {
                found.unfinished += 1;
                continue;
            }
        }
        found.last = Some(Instant::now());
        bar.inc(1);
    }
}

/// Asks until the photo is no longer processing. `None` when the time is over.
async fn state(
    target: &Target,
    connection: &mut Option<Connection>,
    id: &str,
    deadline: Instant,
) -> Option<String> {
    while Instant::now() < deadline {
        let open = match connection.take() {
            Some(connection) if connection.is_open() => Some(connection),
            _ => target.connect().await.ok(),
        };
        if let Some(mut open) = open
            && let Ok(answer) = open.photo(id).await
        {
            *connection = Some(open);
            let record = serde_json::from_slice::<PhotoRecord>(&answer.body);
            match (answer.status, record) {
                (StatusCode::OK, Ok(record)) if record.state != "processing" => return Some(record.state),
                // Gone: it will never be ready.
                (StatusCode::NOT_FOUND, _) => return Some("missing".to_owned()),
                _ => {}
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    None
}
