//! What is to go wrong, with which requests, and how often.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::{Method, StatusCode};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::Seen;

/// How long a fault may take to be met.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is carried out, and answered, so much later.
    Slow(Duration),
    /// It is read and not carried out; the answer is this status with this code of S3's. With an empty one it is the
    /// status alone, without a body.
    Refuse(StatusCode, &'static str),
    /// It does not reach the server: what stands before it answers this status, with a page of its own.
    Page(StatusCode),
    /// The connection ends after so many bytes of its body. It is not carried out.
    CutRequest(usize),
    /// It is carried out; the connection ends after so many bytes of the answer's body.
    CutAnswer(usize),
    /// It is carried out, and the connection ends instead of an answer.
    LoseAnswer,
    /// The connection ends when it has come whole; it is carried out so much later.
    Late(Duration),
    /// One bit of its body is another when it arrives.
    CorruptRequest,
    /// One bit of the answer's body is another when it arrives.
    CorruptAnswer,
    /// It is carried out; the answer tells the checksum of something else.
    WrongChecksum,
}

impl Fault {
    /// The answer of a server that fails.
    pub fn internal_error() -> Self {
        Self::Refuse(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
    }

    /// The answer of a server that has too much to do.
    pub fn slow_down() -> Self {
        Self::Refuse(StatusCode::SERVICE_UNAVAILABLE, "SlowDown")
    }

    /// Met by every request.
    pub fn always(self) -> Rule {
        Rule { fault: self, method: None, key: "", query: "", skip: 0, times: usize::MAX }
    }

    /// Met by every request of this method whose key begins so.
    pub fn on(self, method: Method, key: &'static str) -> Rule {
        Rule { method: Some(method), key, ..self.always() }
    }
}

/// Which requests meet a fault, and how often.
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    method: Option<Method>,
    key: &'static str,
    query: &'static str,
    skip: usize,
    times: usize,
}

impl Rule {
    /// Only those whose query has this, `partNumber=2` for example.
    #[must_use]
    pub fn query(self, part: &'static str) -> Self {
        Self { query: part, ..self }
    }

    /// So many pass first.
    #[must_use]
    pub fn skip(self, count: usize) -> Self {
        Self { skip: count, ..self }
    }

    /// So many meet it.
    #[must_use]
    pub fn times(self, count: usize) -> Self {
        Self { times: count, ..self }
    }

    fn is_of(&self, seen: &Seen) -> bool {
        self.method.as_ref().is_none_or(|method| *method == seen.method)
            && seen.key.starts_with(self.key)
            && seen.query.contains(self.query)
    }
}

/// What is to go wrong now. Clones share it.
#[derive(Clone, Debug)]
pub struct Faults {
    rules: Arc<Mutex<Vec<Rule>>>,
    hits: Arc<watch::Sender<usize>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { rules: Arc::default(), hits: Arc::new(watch::Sender::new(0)) }
    }
}

impl Faults {
    /// From now on these, instead of what was there. The first that fits a request is the one it meets.
    pub fn set(&self, rules: impl IntoIterator<Item = Rule>) {
        let mut now = self.rules.lock().unwrap();
        *now = rules.into_iter().collect();
        self.hits.send_replace(0);
    }

    /// Nothing goes wrong any more.
    pub fn clear(&self) {
        self.rules.lock().unwrap().clear();
    }

    /// How many requests have met a fault since [`Faults::set`].
    pub fn hits(&self) -> usize {
        *self.hits.borrow()
    }

    /// Waits until so many have.
    pub async fn hit(&self, count: usize) {
        let mut hits = self.hits.subscribe();
        let met = timeout(PATIENCE, hits.wait_for(|hits| *hits >= count)).await;
        assert!(met.is_ok(), "only {} of {count} requests have met a fault", self.hits());
    }

    /// The fault that this request meets.
    pub(crate) fn strike(&self, seen: &Seen) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap();
        let rule = rules.iter_mut().find(|rule| rule.times > 0 && rule.is_of(seen))?;
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        rule.times -= 1;
        let fault = rule.fault.clone();
        drop(rules);
        self.hits.send_modify(|hits| *hits += 1);
        Some(fault)
    }
}
