//! Closing a connection so that an early refusal can be read.
//!
//! A client that is still sending when the server closes gets a reset, and may never see the answer that
//! was sent before (RFC 9112, section 9.6). So the server closes its writing side first, goes on reading
//! and discarding within a bound, and only then closes. What is discarded costs no memory and no lease.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes discarded at once.
const DISCARD_AT_ONCE: usize = 16 * 1024;

/// A stream whose shutdown lingers.
pub struct Lingering<S> {
    stream: S,
    timeout: Duration,
    bytes_left: u64,
    state: State,
}

enum State {
    Open,
    /// Our side is closed; the rest of theirs is read and discarded.
    Discarding(Pin<Box<Sleep>>),
    Closed,
}

impl<S> Lingering<S> {
    /// Discards at most `bytes_max` bytes for at most `timeout` when it is shut down.
    pub fn new(stream: S, timeout: Duration, bytes_max: u64) -> Self {
        Self { stream, timeout, bytes_left: bytes_max, state: State::Open }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lingering<S> {
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut space = [0; DISCARD_AT_ONCE];
        while self.bytes_left > 0 {
            let mut buffer = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    self.bytes_left = self.bytes_left.saturating_sub(buffer.filled().len() as u64);
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
                    let deadline = Instant::now() + self.timeout;
                    self.state = State::Discarding(Box::pin(sleep_until(deadline)));
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
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
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
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn the_rest_is_discarded_until_the_client_has_read_the_answer() {
        let (mut client, server) = duplex(1024);
        let mut server = Lingering::new(server, Duration::from_secs(60), u64::MAX);
        let closing = tokio::spawn(async move {
            server.write_all(b"no").await.unwrap();
            server.shutdown().await.unwrap();
        });
        client.write_all(&[0; 100_000]).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"no");
        drop(client);
        closing.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_goes_on_sending_is_cut_off() {
        let (mut client, server) = duplex(1024);
        let mut by_bytes = Lingering::new(server, Duration::from_secs(60), 2048);
        let sending = tokio::spawn(async move { while client.write_all(&[0; 512]).await.is_ok() {} });
        by_bytes.shutdown().await.unwrap();
        drop(by_bytes);
        sending.await.unwrap();

        let (_silent, server) = duplex(1024);
        let began = Instant::now();
        Lingering::new(server, Duration::from_secs(3), 2048).shutdown().await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 3);
    }
}
