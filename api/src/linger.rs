//! A stream with deadlines where HTTP has none, and a close that lets an early refusal be read.
//!
//! - **Closing**: a client that is still sending when the server closes gets a reset, and may never see the
//!   answer that was sent before (RFC 9112, section 9.6). So the server closes its writing side first, goes on
//!   reading and discarding within a bound, and only then closes. What is discarded costs no memory and no lease.
//! - **Opening**: until the first bytes have told HTTP/1.1 from HTTP/2, no timer of either runs.
//! - **Writing**: a client that asks and never reads, or a byte now and then, would hold its connection for ever. So an
//!   answer has the pace of a body, reckoned where the client has taken something after it was waited for, and all the room
//!   that this made is filled: what it takes arrives here in strides, as large as a part of the system's buffer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::HttpOptions;
use crate::request::Pace;

/// Bytes discarded at once.
const DISCARD_AT_ONCE: usize = 16 * 1024;
/// What an HTTP/2 connection begins with (RFC 9113, section 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream with deadlines, whose shutdown lingers.
pub struct Lingering<S> {
    stream: S,
    discard_timeout: Duration,
    discard_bytes_left: u64,
    write_timeout: Duration,
    pace: Pace,
    /// Runs until the protocol is known; with how much of the h2 preface has been seen.
    opening: Option<(Pin<Box<Sleep>>, usize)>,
    /// Runs while the client takes nothing; with when that began.
    writing: Option<(Pin<Box<Sleep>>, Instant)>,
    taken: Taken,
    state: State,
}

/// What a client has taken lately, and how long it was waited for.
#[derive(Default)]
struct Taken {
    waited: Duration,
    bytes: u64,
}

impl Taken {
    /// Reckons anew at the end of each window; false if it was too slow in this one.
    fn keeps(&mut self, pace: Pace) -> bool {
        if pace.rate_min == 0 || self.waited < pace.over {
            return true;
        }
        let least = pace.rate_min as f64 * self.waited.as_secs_f64();
        let Self { bytes, .. } = std::mem::take(self);
        bytes as f64 >= least
    }
}

enum State {
    Open,
    /// Our side is closed; the rest of theirs is read and discarded.
    Discarding(Pin<Box<Sleep>>),
    Closed,
}

fn timer(after: Duration) -> Pin<Box<Sleep>> {
    Box::pin(sleep_until(Instant::now() + after))
}

impl<S> Lingering<S> {
    /// Over a connection that was just accepted.
    pub fn new(stream: S, options: &HttpOptions) -> Self {
        Self {
            stream,
            discard_timeout: options.discard_timeout,
            discard_bytes_left: options.discard_bytes_max,
            write_timeout: options.body_idle_timeout,
            pace: Pace { rate_min: options.body_rate_min, over: options.body_rate_window },
            opening: Some((timer(options.header_timeout), 0)),
            writing: None,
            taken: Taken::default(),
            state: State::Open,
        }
    }

    /// Looks at what was read: from the first byte that is not the h2 preface's, or with its last, the protocol
    /// is known.
    fn opened_by(&mut self, read: &[u8]) {
        if let Some((_, seen)) = &mut self.opening {
            let wanted = &H2_PREFACE[*seen..];
            let same = read.iter().zip(wanted).take_while(|(a, b)| a == b).count();
            *seen += same;
            if same < read.len() || same == wanted.len() {
                self.opening = None;
            }
        }
    }

    /// Keeps the time while the client takes nothing, and its pace.
    fn poll_patience(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let too_late = |what| Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, what)));
        match poll {
            Poll::Ready(Ok(bytes)) => {
                self.taken.bytes += bytes as u64;
                if let Some((_, since)) = self.writing.take() {
                    self.taken.waited += since.elapsed();
                }
                poll
            }
            Poll::Ready(Err(_)) => poll,
            // Only now the room that it had made is filled.
            Poll::Pending if self.writing.is_none() && !self.taken.keeps(self.pace) => {
                too_late("the client takes too few bytes")
            }
            Poll::Pending => {
                let timeout = self.write_timeout;
                let (timer, _) = self.writing.get_or_insert_with(|| (timer(timeout), Instant::now()));
                ready!(timer.as_mut().poll(cx));
                too_late("the client takes no bytes")
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lingering<S> {
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut space = [0; DISCARD_AT_ONCE];
        while self.discard_bytes_left > 0 {
            let mut buffer = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    let read = buffer.filled().len() as u64;
                    self.discard_bytes_left = self.discard_bytes_left.saturating_sub(read);
                }
                // The client has closed its side, or is gone.
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.state {
                State::Open => {
                    ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
                    self.state = State::Discarding(timer(self.discard_timeout));
                }
                State::Discarding(timer) => {
                    if timer.as_mut().poll(cx).is_pending() {
                        ready!(self.poll_discard(cx));
                    }
                    self.state = State::Closed;
                }
                State::Closed => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.poll_patience(cx, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(cx).map_ok(|()| 0);
        self.poll_patience(cx, poll).map_ok(|_| ())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.poll_patience(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if poll.is_ready() {
            self.opened_by(&buffer.filled()[before..]);
        } else if let Some((timer, _)) = &mut self.opening {
            ready!(timer.as_mut().poll(cx));
            let silent = io::Error::new(io::ErrorKind::TimedOut, "the client sends no request");
            return Poll::Ready(Err(silent));
        }
        poll
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn lingering<S>(stream: S, discard_bytes_max: u64) -> Lingering<S> {
        let options = HttpOptions {
            discard_timeout: Duration::from_secs(3),
            discard_bytes_max,
            header_timeout: Duration::from_secs(5),
            body_idle_timeout: Duration::from_secs(7),
            body_rate_min: 1000,
            body_rate_window: Duration::from_secs(10),
            ..HttpOptions::default()
        };
        Lingering::new(stream, &options)
    }

    #[tokio::test]
    async fn the_rest_is_discarded_until_the_client_has_read_the_answer() {
        let (mut client, server) = duplex(1024);
        let mut server = lingering(server, u64::MAX);
        let closing = tokio::spawn(async move {
            server.write_all(b"no").await.unwrap();
            server.shutdown().await.unwrap();
        });
        client.write_all(&vec![0; 100_000]).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"no");
        drop(client);
        closing.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_goes_on_sending_is_cut_off() {
        let (mut client, server) = duplex(1024);
        let mut by_bytes = lingering(server, 2048);
        let sending = tokio::spawn(async move { while client.write_all(&[0; 512]).await.is_ok() {} });
        by_bytes.shutdown().await.unwrap();
        drop(by_bytes);
        sending.await.unwrap();

        let (_silent, server) = duplex(1024);
        let began = Instant::now();
        lingering(server, 2048).shutdown().await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_no_request_is_cut_off() {
        for sent in [&b""[..], b"PRI * HT"] {
            let (mut client, server) = duplex(1024);
            let mut server = lingering(server, 0);
            client.write_all(sent).await.unwrap();
            let began = Instant::now();
            let error = server.read_to_end(&mut Vec::new()).await.unwrap_err();
            assert_eq!((error.kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, 5));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn once_the_protocol_is_known_its_own_deadlines_hold() {
        for sent in [&b"G"[..], b"POST", H2_PREFACE] {
            let (mut client, server) = duplex(1024);
            let mut server = lingering(server, 0);
            client.write_all(sent).await.unwrap();
            let mut read = Vec::new();
            let waiting = tokio::time::timeout(Duration::from_secs(60), server.read_to_end(&mut read));
            assert!(waiting.await.is_err(), "{}", sent.escape_ascii());
        }
    }

    /// Writes a hundred thousand bytes to a client that takes so many at a time, with so many seconds between; how it ended,
    /// and after how long.
    async fn write_to_one_that_takes(bytes: usize, pause: u64) -> (io::Result<()>, u64) {
        let (mut client, server) = duplex(1024);
        let mut server = lingering(server, 0);
        let began = Instant::now();
        let reading = tokio::spawn(async move {
            let mut space = vec![0; bytes];
            while client.read_exact(&mut space).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(pause)).await;
            }
        });
        let written = server.write_all(&vec![0; 100_000]).await;
        reading.abort();
        (written, began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_byte_now_and_then_is_cut_off() {
        let (written, after) = write_to_one_that_takes(1, 6).await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!((10..=30).contains(&after), "{after} s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_keeps_the_pace_gets_all_of_it() {
        let (written, after) = write_to_one_that_takes(1024, 1).await;
        assert!(written.is_ok() && after >= 90, "{after} s, {written:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_cut_off() {
        let (_client, server) = duplex(1024);
        let mut server = lingering(server, 0);
        let began = Instant::now();
        let error = server.write_all(&[0; 4096]).await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, 7));
    }
}
