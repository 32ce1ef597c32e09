//! Lines of an answer that is made while its request still arrives.
//!
//! Many clients of HTTP/1.1 read nothing before they have sent everything. So what they do not read waits here,
//! up to a bound; and only when that is reached does whoever makes the lines wait for them, and with it the reading of their
//! bodies. A client that then reads nothing either is given up.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

/// Where lines are written.
pub struct Lines {
    sender: mpsc::UnboundedSender<Line>,
    room: Arc<Semaphore>,
    bytes_max: u32,
    patience: Duration,
}

/// A line, and the room that it takes until it is on its way.
struct Line {
    bytes: Bytes,
    room: OwnedSemaphorePermit,
}

/// The client is gone, or takes no lines: there is nobody to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NobodyReads;

/// Lines of which `bytes_max` bytes may wait, and the stream that they come out of. Who writes waits `patience` for room,
/// and then nothing more is written.
pub fn lines(bytes_max: u32, patience: Duration) -> (Lines, impl Stream<Item = Bytes> + Send + 'static) {
    let (sender, written) = mpsc::unbounded_channel::<Line>();
    let room = Arc::new(Semaphore::new(bytes_max as usize));
    let stream = stream::unfold(written, |mut written| async move {
        let Line { bytes, room } = written.recv().await?;
        drop(room);
        Some((bytes, written))
    });
    (Lines { sender, room, bytes_max, patience }, stream)
}

impl Lines {
    /// Writes a line.
    ///
    /// # Errors
    /// [`NobodyReads`], from then on always.
    pub async fn write(&self, line: &impl Serialize) -> Result<(), NobodyReads> {
        let Ok(mut bytes) = serde_json::to_vec(line) else {
            tracing::error!("a line of an answer could not be written as JSON");
            return Ok(());
        };
        bytes.push(b'\n');
        // One line alone always has room.
        let length = u32::try_from(bytes.len()).map_or(self.bytes_max, |length| length.min(self.bytes_max));
        let room = timeout(self.patience, self.room.clone().acquire_many_owned(length)).await;
        let Ok(Ok(room)) = room else {
            self.room.close();
            return Err(NobodyReads);
        };
        self.sender.send(Line { bytes: bytes.into(), room }).map_err(|_| {
            self.room.close();
            NobodyReads
        })
    }

    /// Whether it was found that nobody reads.
    pub fn are_over(&self) -> bool {
        self.room.is_closed() || self.sender.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tokio::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn so_many_lines_wait_and_no_more() {
        let (lines, stream) = lines(9, PATIENCE);
        let began = Instant::now();
        for word in ["ab", "c"] {
            lines.write(&word).await.unwrap();
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        let reading = tokio::spawn(async move {
            tokio::time::sleep(PATIENCE / 2).await;
            stream.map(|line| String::from_utf8(line.to_vec()).unwrap()).collect::<String>().await
        });
        // Larger than all the room there is.
        lines.write(&"a long line").await.unwrap();
        assert_eq!(began.elapsed(), PATIENCE / 2);
        assert!(!lines.are_over());
        drop(lines);
        assert_eq!(reading.await.unwrap(), "\"ab\"\n\"c\"\n\"a long line\"\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_given_up_for_all_who_write() {
        let (lines, _stream) = lines(8, PATIENCE);
        lines.write(&"12345").await.unwrap();
        let began = Instant::now();
        let late = async {
            tokio::time::sleep(PATIENCE / 2).await;
            lines.write(&"1").await
        };
        assert_eq!(tokio::join!(lines.write(&"1"), late), (Err(NobodyReads), Err(NobodyReads)));
        assert_eq!(began.elapsed(), PATIENCE);
        assert!(lines.are_over());
        assert_eq!(lines.write(&"").await, Err(NobodyReads));
    }

    #[tokio::test]
    async fn a_client_that_is_gone_is_known_at_once() {
        let (lines, stream) = lines(8, PATIENCE);
        drop(stream);
        assert!(lines.are_over());
        assert_eq!(lines.write(&"1").await, Err(NobodyReads));
    }
}
