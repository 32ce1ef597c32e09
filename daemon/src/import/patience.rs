//! What an answer means for whoever wants to go on, and how long to wait before another try.

use std::fmt;
use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use serde::Deserialize;
use tokio::time::Instant;

use super::client::{Answer, Broken, Client};
use super::stop::{Stop, Why};

/// Tries of one request whose connection breaks each time, or whose failure the daemon calls its own: what does this to
/// every connection is the file, or the way there.
const BROKEN_MAX: u32 = 8;

/// The first wait after a broken connection; each further one is twice as long.
const BACKOFF_FIRST: Duration = Duration::from_millis(200);

/// Longest wait between two tries where the daemon names none.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// What a daemon, or the import itself, has against a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reason {
    /// A code of docs/errors.md, where the daemon gave one.
    pub(super) code: Option<String>,
    /// A sentence.
    pub(super) detail: String,
}

impl Reason {
    pub(super) fn local(detail: impl Into<String>) -> Self {
        Self { code: None, detail: detail.into() }
    }

    pub(super) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// It is said of the whole batch: it was closed or cancelled by somebody else, or is gone.
    pub(super) fn is_of_batch(&self) -> bool {
        self.code.as_deref().is_some_and(|code| code.starts_with("batch-"))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// An RFC 9457 problem, as far as it is looked at.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Problem {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
    retry_after: Option<u64>,
}

impl From<Problem> for Reason {
    fn from(problem: Problem) -> Self {
        let code = problem.kind.rsplit('/').next().filter(|code| !code.is_empty()).map(ToOwned::to_owned);
        let detail = if problem.detail.is_empty() { problem.title } else { problem.detail };
        Self { code, detail }
    }
}

/// What an answer means.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It was done.
    Fine(Answer),
    /// Not now; the same again after so long, or when it seems right.
    Busy(Option<Duration>, Reason),
    /// Something went wrong that may go well the next time.
    Mishap(Reason),
    /// The same, because the bytes came too slowly: fewer at once may do.
    TooSlow(Reason),
    /// No file will be taken any more.
    Hopeless(Reason),
    /// The answer is no.
    Refused(StatusCode, Reason),
}

/// What an exchange came to.
pub(super) fn judge(exchange: Result<Answer, Broken>) -> Verdict {
    let answer = match exchange {
        Ok(answer) if answer.status.is_success() => return Verdict::Fine(answer),
        Ok(answer) => answer,
        Err(broken) => return Verdict::Mishap(Reason::local(broken)),
    };
    let problem = serde_json::from_slice::<Problem>(&answer.body).ok();
    let after = retry_after(&answer).or(problem.as_ref().and_then(|problem| problem.retry_after));
    let after = after.map(Duration::from_secs);
    let reason = problem.map_or_else(|| unexplained(&answer), Reason::from);
    match answer.status {
        // Waiting closes no batch.
        status if reason.is("too-many-batches") => Verdict::Refused(status, reason),
        // The last: somebody else sends to the same upload, as another import of the same file. That ends, whether or not it
        // is said when.
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS | StatusCode::LOCKED => {
            Verdict::Busy(after, reason)
        }
        // An earlier try of the same is still being worked on.
        StatusCode::CONFLICT if after.is_some() => Verdict::Busy(after, reason),
        // No room, or nobody whom the daemon lets in: the next file would not fare better.
        StatusCode::INSUFFICIENT_STORAGE | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Verdict::Hopeless(reason)
        }
        StatusCode::REQUEST_TIMEOUT => Verdict::TooSlow(reason),
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
            Verdict::Mishap(reason)
        }
        // What a connection that breaks looks like from the other side.
        StatusCode::BAD_REQUEST if reason.is("body-incomplete") => Verdict::Mishap(reason),
        status => Verdict::Refused(status, reason),
    }
}

fn unexplained(answer: &Answer) -> Reason {
    let body = String::from_utf8_lossy(&answer.body);
    let body: String = body.chars().take(200).collect();
    Reason::local(format!("the answer was {} {}", answer.status, body.trim()).trim_end().to_owned())
}

/// Seconds, or a date as proxies write it.
fn retry_after(answer: &Answer) -> Option<u64> {
    let value = answer.header("retry-after")?;
    value.trim().parse().ok().or_else(|| {
        let until = httpdate::parse_http_date(value).ok()?;
        Some(until.duration_since(SystemTime::now()).unwrap_or_default().as_secs() + 1)
    })
}

/// Why something was not done.
#[derive(Debug)]
pub(super) enum GaveUp {
    /// The import ends early.
    Stopped,
    /// The daemon says no.
    Refused(Reason),
    /// It went wrong too often.
    Failed(Reason),
}

/// The tries of one request, or of one file.
pub(super) struct Tries<'i> {
    client: &'i Client,
    stop: &'i Stop,
    /// How long all of the import may stand still.
    patience: Duration,
    broken: u32,
    busy: u32,
    /// When it broke for the first time.
    broken_since: Option<Instant>,
}

impl<'i> Tries<'i> {
    pub(super) fn new(client: &'i Client, stop: &'i Stop, patience: Duration) -> Self {
        Self { client, stop, patience, broken: 0, busy: 0, broken_since: None }
    }

    /// The daemon took something of it: what comes is judged anew.
    pub(super) fn went_forward(&mut self) {
        self.client.meter.forward();
        self.settle();
    }

    /// Whether there is something to try again.
    pub(super) fn is_troubled(&self) -> bool {
        self.broken + self.busy > 0
    }

    fn settle(&mut self) {
        if self.is_troubled() {
            self.client.meter.settled();
        }
        (self.broken, self.busy, self.broken_since) = (0, 0, None);
    }

    /// Gives what was done; or waits until it may be tried again, and gives none.
    ///
    /// # Errors
    /// When it makes no sense to try again.
    pub(super) async fn weigh(&mut self, verdict: Verdict) -> Result<Option<Answer>, GaveUp> {
        match verdict {
            Verdict::Fine(answer) => Ok(Some(answer)),
            Verdict::Refused(_, reason) => {
                // A daemon that says no is there, and at work.
                self.client.meter.forward();
                Err(GaveUp::Refused(reason))
            }
            Verdict::Hopeless(reason) => {
                self.stop.because(Why::Hopeless(reason.detail.clone()));
                Err(GaveUp::Refused(reason))
            }
            Verdict::Busy(after, reason) => {
                self.client.meter.stumbled(Instant::now(), !self.is_troubled());
                self.busy += 1;
                let wait = after.unwrap_or_else(|| backoff(self.busy)).max(BACKOFF_FIRST);
                self.pause(wait, &reason).await.map(|()| None)
            }
            Verdict::Mishap(reason) | Verdict::TooSlow(reason) => {
                let now = Instant::now();
                let standing_since = self.client.meter.stumbled(now, !self.is_troubled());
                self.broken += 1;
                let broken_since = *self.broken_since.get_or_insert(now);
                // Where nothing else goes forward either, it is the daemon or the way there: that has more time.
                if self.broken >= BROKEN_MAX && standing_since > broken_since {
                    let detail = format!("tried {} times: {}", self.broken, reason.detail);
                    return Err(GaveUp::Failed(Reason { detail, ..reason }));
                }
                self.pause(backoff(self.broken), &reason).await.map(|()| None)
            }
        }
    }

    /// Waits, unless patience has an end or would have had one meanwhile.
    async fn pause(&self, wait: Duration, reason: &Reason) -> Result<(), GaveUp> {
        use std::sync::atomic::Ordering;
        if self.stop.is_asked() {
            return Err(GaveUp::Stopped);
        }
        let standing = self.client.meter.standing();
        if standing.max(wait) >= self.patience {
            let text = if standing >= self.patience {
                format!("nothing could be done for {} s: {}", standing.as_secs(), reason.detail)
            } else {
                format!(
                    "the daemon asks to come back in {} s, which is more than --patience: {}",
                    wait.as_secs(),
                    reason.detail
                )
            };
            self.stop.because(Why::Hopeless(text));
            return Err(GaveUp::Stopped);
        }
        self.client.meter.repeated.fetch_add(1, Ordering::Relaxed);
        // Never earlier than was asked for, and not all at once.
        let wait = wait.mul_f64(1.0 + rand::random::<f64>() / 2.0);
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.stop.asked() => Err(GaveUp::Stopped),
        }
    }
}

impl Drop for Tries<'_> {
    fn drop(&mut self) {
        self.settle();
    }
}

fn backoff(tries: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(1 << tries.clamp(1, 16).saturating_sub(1)).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::HeaderMap;

    use super::*;
    use crate::import::client::Door;

    #[expect(clippy::unnecessary_wraps, reason = "what is judged may be no answer")]
    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Result<Answer, Broken> {
        let headers = headers.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()));
        let headers: HeaderMap = headers.collect();
        Ok(Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Bytes::from(body.to_owned()),
        })
    }

    #[test]
    fn what_may_go_well_later_is_told_from_what_never_will() {
        let after = &[("retry-after", "7")];
        let seven = Some(Duration::from_secs(7));
        for status in [503, 429, 409, 423] {
            assert!(
                matches!(judge(answer(status, after, "")), Verdict::Busy(wait, _) if wait == seven),
                "{status}"
            );
        }
        // Two imports of the same file send to the same upload: a server need not say when the other one ends.
        assert!(matches!(judge(answer(423, &[], "")), Verdict::Busy(None, _)));
        assert!(matches!(judge(answer(409, &[], "")), Verdict::Refused(..)));
        let told = judge(answer(503, &[], r#"{"type": "/problems/overloaded", "retry_after": 7}"#));
        assert!(matches!(told, Verdict::Busy(wait, _) if wait == seven));
        for status in [500, 502, 504] {
            assert!(matches!(judge(answer(status, &[], "")), Verdict::Mishap(_)), "{status}");
        }
        assert!(matches!(judge(answer(408, &[], "")), Verdict::TooSlow(_)));
        assert!(matches!(judge(Err("reset".to_owned())), Verdict::Mishap(_)));
        for hopeless in [507, 401, 403] {
            assert!(matches!(judge(answer(hopeless, after, "")), Verdict::Hopeless(_)), "{hopeless}");
        }
        let no = r#"{"type": "/problems/unsupported-image", "title": "Not a photo", "detail": "it is text"}"#;
        let Verdict::Refused(_, reason) = judge(answer(415, &[], no)) else { panic!("not refused") };
        assert!(reason.is("unsupported-image") && reason.detail == "it is text", "{reason:?}");
        let cut = r#"{"type": "/problems/body-incomplete"}"#;
        assert!(matches!(judge(answer(400, &[], cut)), Verdict::Mishap(_)));
        assert!(matches!(judge(answer(400, &[], "")), Verdict::Refused(..)));
    }

    #[test]
    fn a_date_to_come_back_at_is_understood() {
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(90));
        let seconds = retry_after(&answer(503, &[("retry-after", &date)], "").unwrap()).unwrap();
        assert!((80..=91).contains(&seconds), "{seconds}");
    }

    #[test]
    fn waits_grow_up_to_a_bound() {
        assert_eq!(backoff(1), BACKOFF_FIRST);
        assert_eq!(backoff(3), BACKOFF_FIRST * 4);
        assert_eq!(backoff(1000), BACKOFF_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_given_up_after_so_many_breaks_and_all_of_it_when_patience_ends() {
        let client = Client::new(Door::Socket("/nowhere".into()));
        let (stop, patience) = (Stop::default(), Duration::from_secs(300));
        let mut tries = Tries::new(&client, &stop, patience);
        let broken = || Verdict::Mishap(Reason::local("reset"));
        // While nothing goes forward at all, it is not this file's fault.
        for _ in 0..BROKEN_MAX {
            assert!(matches!(tries.weigh(broken()).await, Ok(None)));
        }
        client.meter.forward();
        assert!(matches!(tries.weigh(broken()).await, Err(GaveUp::Failed(_))));
        assert!(!stop.is_asked());
        // The daemon asks for more time than there is patience.
        let later = Verdict::Busy(Some(patience), Reason::local("full"));
        assert!(matches!(tries.weigh(later).await, Err(GaveUp::Stopped)));
        assert!(
            matches!(stop.why(), Some(Why::Hopeless(text)) if text.contains("--patience")),
            "{:?}",
            stop.why()
        );
    }

    const PATIENCE: Duration = Duration::from_secs(300);

    fn busy() -> Verdict {
        Verdict::Busy(Some(Duration::from_secs(1)), Reason::local("full"))
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_the_daemon_was_asked_for_nothing_tries_no_patience() {
        let client = Client::new(Door::Socket("/nowhere".into()));
        let stop = Stop::default();
        // A long walk, and then a daemon that is busy once.
        tokio::time::advance(PATIENCE * 2).await;
        let mut tries = Tries::new(&client, &stop, PATIENCE);
        assert!(matches!(tries.weigh(busy()).await, Ok(None)), "{:?}", stop.why());
        tries.went_forward();
        // Nothing is sent while large files are hashed; also after one that was given up.
        assert!(matches!(tries.weigh(busy()).await, Ok(None)));
        drop(tries);
        tokio::time::advance(PATIENCE * 2).await;
        let mut tries = Tries::new(&client, &stop, PATIENCE);
        assert!(matches!(tries.weigh(busy()).await, Ok(None)), "{:?}", stop.why());
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_where_nothing_is_taken_for_so_long_whoever_tries() {
        let client = Client::new(Door::Socket("/nowhere".into()));
        let stop = Stop::default();
        let mut one = Tries::new(&client, &stop, PATIENCE);
        assert!(matches!(one.weigh(busy()).await, Ok(None)));
        tokio::time::advance(PATIENCE / 2).await;
        let mut other = Tries::new(&client, &stop, PATIENCE);
        assert!(matches!(other.weigh(busy()).await, Ok(None)));
        // One of the two goes no further, and the other is refused as before.
        drop(one);
        tokio::time::advance(PATIENCE / 2).await;
        assert!(matches!(other.weigh(busy()).await, Err(GaveUp::Stopped)));
        let Some(Why::Hopeless(text)) = stop.why() else { panic!("{:?}", stop.why()) };
        assert!(text.contains("nothing could be done for 30"), "{text}");
    }
}
