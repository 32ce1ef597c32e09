//! What handlers read from a request.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use darkroom_actors::BodyError;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Incoming};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use crate::problem::Problem;
use crate::{Api, HttpOptions};

/// The parameters of a query, each known and given at most once.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query, refusing parameters that are not in `known`.
    ///
    /// # Errors
    /// `invalid-parameter`, naming the parameter.
    pub fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let problem = |what: &str| {
                Err(Problem::new("invalid-parameter", format!("the query parameter {name:?} {what}")))
            };
            if !known.contains(&&*name) {
                return problem(&match known {
                    [] => "is not known: this path takes none".to_owned(),
                    known => format!("is not known: this path takes {}", known.join(", ")),
                });
            }
            if pairs.iter().any(|(earlier, _)| *earlier == name) {
                return problem("is given twice");
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Seconds from `Prefer: wait=N` (RFC 7240, section 4.3).
pub fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .find_map(|preference| {
            let (name, value) = preference.split_once('=')?;
            let seconds = value.trim().trim_matches('"').parse().ok()?;
            name.trim().eq_ignore_ascii_case("wait").then_some(Duration::from_secs(seconds))
        })
}

/// A header as text, if it is there and readable.
pub fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether a request's body was read to its end. If not, its connection cannot be used again.
#[derive(Clone, Debug)]
pub struct BodyEnd(Arc<AtomicBool>);

impl BodyEnd {
    /// For this body.
    pub fn of(body: &Incoming) -> Self {
        Self(Arc::new(AtomicBool::new(body.is_end_stream())))
    }

    /// Whether the end was seen.
    pub fn was_reached(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long a body may take.
#[derive(Clone, Copy, Debug)]
pub struct BodyDeadlines {
    /// Between two pieces.
    pub idle: Duration,
    /// For all of it.
    pub whole: Duration,
    /// How slowly it may come.
    pub pace: Pace,
}

/// What a body must come to. Only the time in which it is waited for counts: whoever is held up by our disk is not slow.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes per second; 0 for none.
    pub rate_min: u64,
    /// The time over which that is reckoned, again and again. The first ends no body before it is over.
    pub over: Duration,
}

impl BodyDeadlines {
    /// Of every body.
    pub fn of(options: &HttpOptions) -> Self {
        Self {
            idle: options.body_idle_timeout,
            whole: options.body_timeout,
            pace: Pace { rate_min: options.body_rate_min, over: options.body_rate_window },
        }
    }
}

/// How a body keeps its pace.
#[derive(Clone, Copy, Debug, Default)]
struct Paced {
    waited: Duration,
    bytes: u64,
}

impl Paced {
    /// Until when it has time.
    fn deadline(&self, pace: &Pace) -> Option<Instant> {
        (pace.rate_min > 0).then(|| Instant::now() + pace.over.saturating_sub(self.waited))
    }

    /// It was waited for, and so much came.
    ///
    /// # Errors
    /// [`BodyError::TooSlow`].
    fn came(&mut self, waited: Duration, bytes: usize, pace: &Pace) -> Result<(), BodyError> {
        self.waited += waited;
        self.bytes += bytes as u64;
        if pace.rate_min == 0 || self.waited < pace.over {
            return Ok(());
        }
        let least = pace.rate_min as f64 * self.waited.as_secs_f64();
        if (self.bytes as f64) < least {
            return Err(BodyError::TooSlow { rate_min: pace.rate_min, over: pace.over });
        }
        *self = Self::default();
        Ok(())
    }
}

/// The body's bytes, under deadlines. The stream ends after an error.
pub fn body_bytes(
    body: Incoming,
    end: BodyEnd,
    deadlines: BodyDeadlines,
    bytes_max: u64,
) -> impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static {
    let latest = Instant::now() + deadlines.whole;
    stream::unfold(Some((body, 0_u64, Paced::default())), move |state| {
        let end = end.clone();
        async move {
            let (mut body, received, mut paced) = state?;
            let next = match next_bytes(&mut body, deadlines, latest, &mut paced).await {
                Ok(next) => next,
                Err(error) => return Some((Err(error), None)),
            };
            if body.is_end_stream() {
                end.0.store(true, Ordering::Relaxed);
            }
            let Some(bytes) = next else {
                end.0.store(true, Ordering::Relaxed);
                return None;
            };
            let received = received + bytes.len() as u64;
            metrics::counter!("darkroom_http_received_body_bytes_total").increment(bytes.len() as u64);
            if received > bytes_max {
                return Some((Err(BodyError::TooLarge { limit: bytes_max }), None));
            }
            Some((Ok(bytes), Some((body, received, paced))))
        }
    })
}

async fn next_bytes<B>(
    body: &mut B,
    deadlines: BodyDeadlines,
    latest: Instant,
    paced: &mut Paced,
) -> Result<Option<Bytes>, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let BodyDeadlines { idle, whole, pace } = deadlines;
    let mut silent_since = Instant::now();
    loop {
        let began = Instant::now();
        let stalled = latest.min(silent_since + idle);
        let deadline = paced.deadline(&pace).map_or(stalled, |slow| slow.min(stalled));
        let frame = timeout_at(deadline, body.frame()).await;
        let waited = began.elapsed();
        match frame {
            Err(_) if deadline == stalled => {
                return Err(BodyError::Stalled { after: if stalled == latest { whole } else { idle } });
            }
            Err(_) => paced.came(waited, 0, &pace)?,
            Ok(None) => return Ok(None),
            // Trailers carry nothing that is used here.
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(bytes) if !bytes.is_empty() => {
                    paced.came(waited, bytes.len(), &pace)?;
                    return Ok(Some(bytes));
                }
                _ => {
                    paced.came(waited, 0, &pace)?;
                    silent_since = Instant::now();
                }
            },
            Ok(Some(Err(error))) => return Err(BodyError::Broken(error.to_string())),
        }
    }
}

/// Longest that a small body may take.
const SMALL_TIME_MAX: Duration = Duration::from_secs(60);

/// A small body as JSON, of a handler that holds nothing while it comes.
///
/// # Errors
/// As [`json`]'s.
pub async fn small_json<T: DeserializeOwned>(
    api: &Api,
    body: Incoming,
    end: BodyEnd,
    bytes_max: usize,
) -> Result<T, Problem> {
    let whole = api.options().body_timeout.min(SMALL_TIME_MAX);
    let deadlines = BodyDeadlines { whole, ..BodyDeadlines::of(api.options()) };
    json(body_bytes(body, end, deadlines, bytes_max as u64), bytes_max).await
}

/// A small body as JSON; no body is `{}`.
///
/// # Errors
/// `body-too-large`, those of reading it, and `invalid-json`, which says where.
pub async fn json<T: DeserializeOwned>(
    body: impl Stream<Item = Result<Bytes, BodyError>>,
    bytes_max: usize,
) -> Result<T, Problem> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece?;
        if bytes.len() + piece.len() > bytes_max {
            return Err(BodyError::TooLarge { limit: bytes_max as u64 }.into());
        }
        bytes.extend_from_slice(&piece);
    }
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    serde_json::from_slice(text).map_err(|error| Problem::new("invalid-json", format!("the body: {error}")))
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    const DEADLINES: BodyDeadlines = BodyDeadlines {
        idle: Duration::from_secs(30),
        whole: Duration::from_secs(600),
        pace: Pace { rate_min: 1024, over: Duration::from_secs(10) },
    };

    /// Reads a body that sends so many bytes once per second, each reader's turn taking so long; when and how it ended.
    async fn read_slowly(bytes: usize, pieces: usize, between: Duration) -> (u64, Option<BodyError>) {
        let frames = stream::unfold(0, move |sent| async move {
            if sent == pieces {
                return None;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![0; bytes]))), sent + 1))
        });
        let mut body = StreamBody::new(frames.boxed());
        let (began, mut paced) = (Instant::now(), Paced::default());
        loop {
            match next_bytes(&mut body, DEADLINES, began + DEADLINES.whole, &mut paced).await {
                Ok(Some(_)) => tokio::time::sleep(between).await,
                Ok(None) => return (began.elapsed().as_secs(), None),
                Err(error) => return (began.elapsed().as_secs(), Some(error)),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_given_up_after_the_first_window() {
        let (after, error) = read_slowly(1, 1000, Duration::ZERO).await;
        assert_eq!(after, 10);
        assert!(matches!(error, Some(BodyError::TooSlow { rate_min: 1024, .. })), "{error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_keeps_its_pace_is_read_to_its_end() {
        let (after, error) = read_slowly(1100, 100, Duration::ZERO).await;
        assert!(error.is_none() && after == 100, "{after} s, {error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_us_is_not_slow() {
        let (_, error) = read_slowly(1100, 50, Duration::from_secs(5)).await;
        assert!(error.is_none(), "{error:?}");
    }

    #[test]
    fn unknown_and_repeated_parameters_are_refused_by_name() {
        let error = Query::parse(Some("dupliacte=allow"), &["duplicate"]).err().unwrap();
        assert!(error.detail.contains("dupliacte") && error.detail.contains("duplicate"), "{}", error.detail);
        assert!(Query::parse(Some("limit=1&limit=2"), &["limit"]).is_err());
        assert_eq!(Query::parse(Some("limit=1"), &["limit"]).unwrap().get("limit"), Some("1"));
        assert_eq!(Query::parse(None, &[]).unwrap().get("limit"), None);
    }

    #[test]
    fn the_preference_to_wait_is_found_among_others() {
        let wait = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", value.parse().unwrap());
            preferred_wait(&headers).map(|wait| wait.as_secs())
        };
        assert_eq!(wait("wait=10"), Some(10));
        assert_eq!(wait("respond-async, Wait=3"), Some(3));
        assert_eq!(wait("wait"), None);
        assert_eq!(wait("wait=soon"), None);
    }
}
