//! Clients that send as slowly as they can, and come back whenever they are sent away.
//!
//! [`Kind::Byte`] sends one byte a second. [`Kind::Opened`] has seen that a server takes a body up when its beginning is
//! there, and ends one that is slower than some rate: it sends what lets it in, and then a little more than that rate.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use crate::connection::Target;

/// Between two bytes of a connection, and before it is opened again.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes of a body that is announced and will never come.
const ANNOUNCED: usize = 1 << 20;
/// What a photo begins with; and its longest comment, of which there may be any number, so that it could be a photo until the
/// end.
const JPEG: &[u8] = &[0xff, 0xd8];
const COMMENT: &[u8] = &[0xff, 0xfe, 0xff, 0xff];
const COMMENT_BYTES: usize = 2 + 0xffff;
/// What is sent at once of a body that is to be taken up, and in each second after that.
const OPENING_BYTES: usize = 16 << 10;
const OPENED_BYTES_A_SECOND: usize = 1126;
/// How long all connections may take to be opened the first time.
const GATHERING_TIME_MAX: Duration = Duration::from_secs(30);
/// Between two looks at whether they are.
const LOOK: Duration = Duration::from_millis(10);

/// How slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// A byte a second from the beginning: half of them of a body, the others of headers that do not end.
    Byte,
    /// 16 KiB of a body at once, and then 1.1 KiB a second: raw photos, forms and tar archives in turn.
    Opened,
}

/// What one of them sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Headers,
    Photo,
    Form,
    Archive,
}

impl Kind {
    fn shape(self, number: u16) -> Shape {
        match (self, number % 2, number % 3) {
            (Self::Byte, 0, _) | (Self::Opened, _, 0) => Shape::Photo,
            (Self::Byte, ..) => Shape::Headers,
            (Self::Opened, _, 1) => Shape::Form,
            (Self::Opened, ..) => Shape::Archive,
        }
    }
}

impl Shape {
    /// What comes before the photo: the request's head, and what a body of this shape begins with.
    fn head(self) -> (String, Vec<u8>) {
        let head = |content_type: &str| {
            format!(
                "POST /v1/photos HTTP/1.1\r\nHost: slow\r\nContent-Type: {content_type}\r\n\
                 Content-Length: {ANNOUNCED}\r\n\r\n"
            )
        };
        match self {
            Self::Headers => ("POST /v1/photos HTTP/1.1\r\nHost: slow\r\nX-Slow: ".to_owned(), Vec::new()),
            Self::Photo => (head("image/jpeg"), Vec::new()),
            Self::Form => {
                let part =
                    "--slow\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"slow.jpg\"\r\n\r\n";
                (head("multipart/form-data; boundary=slow"), part.into())
            }
            Self::Archive => (head("application/x-tar"), tar_header()),
        }
    }
}

/// The header of one file in a tar archive (POSIX, ustar).
fn tar_header() -> Vec<u8> {
    let mut header = vec![0; 512];
    let mut set = |at: usize, value: &str| header[at..at + value.len()].copy_from_slice(value.as_bytes());
    set(0, "slow.jpg");
    set(100, "0000644");
    set(124, &format!("{:011o}", ANNOUNCED - 2048));
    // The checksum is that of the header with blanks in its place.
    set(148, "        ");
    set(156, "0");
    set(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// So many bytes of a photo that does not end, from this one on.
fn photo_bytes(from: usize, count: usize) -> Vec<u8> {
    let byte = |at: usize| match at.checked_sub(JPEG.len()) {
        None => JPEG[at],
        Some(at) => COMMENT.get(at % COMMENT_BYTES).copied().unwrap_or_default(),
    };
    (from..from + count).map(byte).collect()
}

/// A crowd of slow clients. It goes with this value.
pub(super) struct Crowd {
    clients: JoinSet<()>,
    standing: Arc<Mutex<Standing>>,
}

/// How the crowd stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Standing {
    /// Connections that are open.
    open: u64,
    /// Connections that were opened, again and again.
    opened: u64,
    /// Connections that the server ended.
    ended: u64,
    /// Connections that could not be opened.
    refused: u64,
    /// Answers, by status.
    answers: BTreeMap<String, u64>,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { open, opened, ended, refused, answers } = self;
        write!(
            f,
            "{open} open at the end, {opened} opened in all, {ended} ended by the server, {refused} not taken"
        )?;
        for (status, count) in answers {
            write!(f, ", {count} × {status}")?;
        }
        Ok(())
    }
}

impl Crowd {
    /// So many clients of a kind, from one address if it is given. Returns when each has had a connection, or has tried for
    /// long.
    pub(super) async fn gather(target: &Target, source: Option<IpAddr>, clients: u16, kind: Kind) -> Self {
        let mut crowd = Self { clients: JoinSet::new(), standing: Arc::default() };
        for number in 0..clients {
            let client = Client {
                authority: target.authority().to_owned(),
                source,
                kind,
                shape: kind.shape(number),
                standing: Arc::clone(&crowd.standing),
            };
            crowd.clients.spawn(client.run());
        }
        let began = Instant::now();
        while began.elapsed() < GATHERING_TIME_MAX && lock(&crowd.standing).opened < u64::from(clients) {
            sleep(LOOK).await;
        }
        crowd
    }

    /// Sends all away; how they stood.
    pub(super) fn disperse(self) -> Standing {
        lock(&self.standing).clone()
    }
}

fn lock(standing: &Mutex<Standing>) -> std::sync::MutexGuard<'_, Standing> {
    standing.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One of them.
struct Client {
    authority: String,
    source: Option<IpAddr>,
    kind: Kind,
    shape: Shape,
    standing: Arc<Mutex<Standing>>,
}

impl Client {
    async fn run(self) {
        loop {
            match self.connect().await {
                Ok(stream) => {
                    {
                        let mut standing = lock(&self.standing);
                        standing.open += 1;
                        standing.opened += 1;
                    }
                    let status = self.dawdle(stream).await;
                    let mut standing = lock(&self.standing);
                    standing.open -= 1;
                    standing.ended += 1;
                    if let Some(status) = status {
                        *standing.answers.entry(status).or_default() += 1;
                    }
                }
                Err(_) => lock(&self.standing).refused += 1,
            }
            sleep(PAUSE).await;
        }
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let address = lookup_host(&self.authority).await?.next();
        let address = address.ok_or_else(|| std::io::Error::other("the server has no address"))?;
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(source) = self.source {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        socket.connect(address).await
    }

    /// Sends until the server ends the connection; the status of its answer, if it gave one.
    async fn dawdle(&self, mut stream: TcpStream) -> Option<String> {
        let _ = stream.set_nodelay(true);
        let (head, begins) = self.shape.head();
        stream.write_all(&[head.as_bytes(), &begins].concat()).await.ok()?;
        let (mut reading, mut writing) = stream.split();
        let mut ticks = interval_at(Instant::now() + PAUSE, PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut sent, mut answer) = (0, Vec::new());
        let mut due = if self.kind == Kind::Opened { OPENING_BYTES } else { 0 };
        loop {
            if due > 0 && begins.len() + sent + due < ANNOUNCED {
                let bytes =
                    if self.shape == Shape::Headers { vec![b'a'; due] } else { photo_bytes(sent, due) };
                if writing.write_all(&bytes).await.is_err() {
                    // What was said before it closed is still there to be read.
                    let _ = timeout(PAUSE, reading.read_to_end(&mut answer)).await;
                    return status(&answer);
                }
                sent += due;
            }
            due = 0;
            tokio::select! {
                read = reading.read_buf(&mut answer) => {
                    if !matches!(read, Ok(1..)) {
                        return status(&answer);
                    }
                }
                _ = ticks.tick() => due = if self.kind == Kind::Opened { OPENED_BYTES_A_SECOND } else { 1 },
            }
        }
    }
}

/// Of `HTTP/1.1 408 …`.
fn status(answer: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(answer.get(..answer.len().min(64))?).ok()?;
    Some(line.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_photo_of_comments_does_not_end() {
        let photo = photo_bytes(0, 3 * COMMENT_BYTES);
        assert_eq!(photo[..6], [0xff, 0xd8, 0xff, 0xfe, 0xff, 0xff]);
        assert_eq!(photo[2 + COMMENT_BYTES..][..4], *COMMENT);
        assert_eq!(photo_bytes(COMMENT_BYTES, 10), photo[COMMENT_BYTES..][..10]);
    }

    #[test]
    fn the_head_of_an_archive_has_the_right_sum() {
        let header = tar_header();
        let told = u32::from_str_radix(std::str::from_utf8(&header[148..154]).unwrap(), 8).unwrap();
        let sum: u32 = header
            .iter()
            .enumerate()
            .map(|(at, byte)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte }))
            .sum();
        assert_eq!((told, &header[257..265]), (sum, &b"ustar\x0000"[..]));
    }

    #[tokio::test]
    async fn those_who_know_the_way_in_send_every_shape_and_enough_to_be_taken_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::parse(&format!("http://{}", listener.local_addr().unwrap()), None).unwrap();
        let crowd = tokio::spawn(async move { Crowd::gather(&target, None, 3, Kind::Opened).await });
        let mut types = Vec::new();
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut sent = Vec::new();
            while sent.len() < OPENING_BYTES {
                assert!(stream.read_buf(&mut sent).await.unwrap() > 0);
            }
            let text = String::from_utf8_lossy(&sent).into_owned();
            let line = text.lines().find_map(|line| line.strip_prefix("Content-Type: ")).unwrap().to_owned();
            types.push(line);
        }
        types.sort();
        assert_eq!(types, ["application/x-tar", "image/jpeg", "multipart/form-data; boundary=slow"]);
        drop(crowd.await.unwrap());
    }

    #[tokio::test]
    async fn the_crowd_stands_and_comes_back_when_it_is_sent_away() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::parse(&format!("http://{}", listener.local_addr().unwrap()), None).unwrap();
        let serving = tokio::spawn(async move {
            let mut kept = Vec::new();
            for number in 0..5 {
                let (mut stream, peer) = listener.accept().await.unwrap();
                assert_eq!(peer.ip().to_string(), "127.0.0.9");
                if number == 0 {
                    let mut head = [0; 20];
                    stream.read_exact(&mut head).await.unwrap();
                    assert!(head.starts_with(b"POST /v1/photos"));
                    stream.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
                } else {
                    kept.push(stream);
                }
            }
            kept
        });
        let crowd = Crowd::gather(&target, Some("127.0.0.9".parse().unwrap()), 4, Kind::Byte).await;
        let kept = serving.await.unwrap();
        while lock(&crowd.standing).open < 4 {
            sleep(LOOK).await;
        }
        let standing = crowd.disperse();
        assert_eq!((standing.opened, standing.ended, standing.refused), (5, 1, 0));
        assert_eq!(standing.answers.get("408"), Some(&1));
        assert_eq!(
            standing.to_string(),
            "4 open at the end, 5 opened in all, 1 ended by the server, 0 not taken, 1 × 408"
        );
        drop(kept);
    }
}
