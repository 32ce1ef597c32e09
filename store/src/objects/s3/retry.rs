//! Attempts: how often, how long, and with which pauses the server is asked.
//!
//! The SDK's own retries are off. They count attempts where we have a deadline, know nothing of the breaker, and
//! could neither continue a body that was cut off nor tell the metrics why they came. This loop does; every attempt
//! is one call of the SDK.
//!
//! Tried again: no connection, one that broke, no answer in time, 5xx, 429, SlowDown, and bytes that the server found
//! damaged. That is safe for every operation here, since a key is written once: to put, get or delete it twice is
//! the same as once. Not tried again: everything that the server understood and refused (4xx), such as wrong
//! credentials or a missing bucket; and anything once the breaker is open.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::S3Options;
use super::breaker::{Breaker, Leave, State};
use super::error::{Cause, Failure};
use crate::StoreError;
use crate::objects::telemetry;

/// The longest first pause; it doubles with each attempt.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// The same when the server asked for fewer requests.
const PAUSE_THROTTLED: Duration = Duration::from_millis(400);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// The way to one server: its breaker, and the times that are granted to it.
#[derive(Debug)]
pub(super) struct Line {
    breaker: Mutex<Breaker>,
    /// Told when a trial has ended, to those who wait for its outcome.
    trial_ended: Notify,
    attempt_timeout: Duration,
    deadline: Duration,
}

impl Line {
    pub(super) fn new(options: &S3Options) -> Self {
        telemetry::breaker_state(0);
        Self {
            breaker: Mutex::new(Breaker::new(options.breaker_failures, options.breaker_pause)),
            trial_ended: Notify::new(),
            attempt_timeout: options.attempt_timeout,
            deadline: options.operation_deadline,
        }
    }

    /// The same with a shorter deadline.
    #[must_use]
    pub(super) fn within(self, deadline: Duration) -> Self {
        Self { deadline: deadline.min(self.deadline), ..self }
    }

    pub(super) fn attempt_timeout(&self) -> Duration {
        self.attempt_timeout
    }

    /// Whether the server is not known to be away: for whoever had better not begin if it is. While a trial is under
    /// way it is, so that no crowd gathers behind one that may take long to fail. Looks only.
    pub(super) fn available(&self) -> Result<(), StoreError> {
        self.may_be_asked()?;
        match self.lock().state() {
            State::HalfOpen => Err(StoreError::Unavailable {
                reason: "the S3 server has not answered lately, and is being asked whether it is back"
                    .to_owned(),
            }),
            State::Closed { .. } | State::Open { .. } => Ok(()),
        }
    }

    /// Whether a call would not be refused at once: for whoever has begun, and would wait for a trial's outcome. Looks
    /// only.
    pub(super) fn may_be_asked(&self) -> Result<(), StoreError> {
        let left = self.lock().open_for(Instant::now());
        left.map_or(Ok(()), |left| Err(resting(left, None)))
    }

    /// Makes attempts until one is answered, the server refuses, or the deadline would pass. `Ok(Err(…))` is the
    /// server's refusal, for whoever knows what it means there.
    pub(super) async fn call<T, F>(
        &self,
        operation: &'static str,
        attempt: impl Fn() -> F + Send,
    ) -> Result<Result<T, Failure>, StoreError>
    where
        F: Future<Output = Result<T, Failure>> + Send,
    {
        self.call_sending(operation, Duration::ZERO, attempt).await
    }

    /// As [`Line::call`], where each attempt sends bytes that may take `sending`: so much longer it may last, and all of
    /// them together.
    pub(super) async fn call_sending<T, F>(
        &self,
        operation: &'static str,
        sending: Duration,
        attempt: impl Fn() -> F + Send,
    ) -> Result<Result<T, Failure>, StoreError>
    where
        F: Future<Output = Result<T, Failure>> + Send,
    {
        let (started, deadline) = (Instant::now(), self.deadline.saturating_add(sending));
        let limit = self.attempt_timeout.saturating_add(sending);
        let (mut pause_max, mut last) = (PAUSE_FIRST, None);
        for made in 1_u32.. {
            let pass = self.admit(deadline.saturating_sub(started.elapsed()), last.as_deref()).await?;
            let left = deadline.saturating_sub(started.elapsed());
            let (cause, reason) = match Self::once(pass, limit.min(left), attempt()).await {
                Err(Failure::Passing { cause, reason }) => (cause, reason),
                answered => return Ok(answered),
            };
            telemetry::count_retry(operation, cause.name());
            let throttled = cause == Cause::Throttled;
            pause_max = pause_max.max(if throttled { PAUSE_THROTTLED } else { PAUSE_FIRST });
            // Anything between nothing and the bound ("full jitter"): those who failed together do not come back
            // in step.
            let pause = pause_max.mul_f64(rand::random::<f64>());
            if started.elapsed() + pause >= deadline {
                let (attempts, seconds) = (made, started.elapsed().as_secs_f32());
                let reason = format!(
                    "{operation} came to nothing in {attempts} attempts and {seconds:.1} s: {reason}"
                );
                return Err(StoreError::Unavailable { reason });
            }
            tracing::debug!(operation, attempt = made, reason, ?pause, "S3 is asked again");
            tokio::time::sleep(pause).await;
            pause_max = (pause_max * 2).min(PAUSE_MAX);
            last = Some(reason);
        }
        // More attempts than can be counted do not fit into any deadline.
        Err(StoreError::Unavailable { reason: format!("{operation} came to nothing") })
    }

    /// As [`Line::call`], where no refusal is expected.
    pub(super) async fn ask<T, F>(
        &self,
        operation: &'static str,
        what: &str,
        attempt: impl Fn() -> F + Send,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Failure>> + Send,
    {
        self.send(operation, what, Duration::ZERO, attempt).await
    }

    /// As [`Line::ask`], where each attempt sends bytes that may take `sending`.
    pub(super) async fn send<T, F>(
        &self,
        operation: &'static str,
        what: &str,
        sending: Duration,
        attempt: impl Fn() -> F + Send,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Failure>> + Send,
    {
        self.call_sending(operation, sending, attempt)
            .await?
            .map_err(|failure| failure.into_error(&format!("{operation} of {what}")))
    }

    async fn once<T>(
        pass: Pass<'_>,
        limit: Duration,
        attempt: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<T, Failure> {
        let result = timeout(limit, attempt).await.unwrap_or_else(|_| {
            Err(Failure::passing(Cause::Timeout, format!("no answer within {:.1} s", limit.as_secs_f32())))
        });
        match &result {
            Err(Failure::Passing { cause, reason }) if cause.is_outage() => pass.failed(reason),
            // Whoever refuses is there.
            _ => pass.succeeded(),
        }
        result
    }

    /// Leave for one attempt. While somebody else makes the trial, waits for its outcome, at most for what is `left`;
    /// `last` is what the last attempt came to.
    async fn admit(&self, left: Duration, last: Option<&str>) -> Result<Pass<'_>, StoreError> {
        let admitted = async {
            loop {
                // Before the look: a trial that ends between it and the wait is noticed too.
                let trial_ended = self.trial_ended.notified();
                match self.change(Breaker::admit) {
                    Leave::Granted => return Ok(Pass { line: self, trial: false }),
                    Leave::Trial => return Ok(Pass { line: self, trial: true }),
                    Leave::Refused(left) => return Err(resting(left, last)),
                    Leave::Wait => trial_ended.await,
                }
            }
        };
        let unknown = |_| StoreError::Unavailable {
            reason: "the S3 server has not answered lately, and whether it is back was not found out in time"
                .to_owned(),
        };
        timeout(left, admitted).await.map_err(unknown)?
    }

    /// Changes the breaker, now.
    fn change<T>(&self, how: impl FnOnce(&mut Breaker, Instant) -> T) -> T {
        let mut breaker = self.lock();
        let before = breaker.state();
        let result = how(&mut breaker, Instant::now());
        let after = breaker.state();
        telemetry::breaker_state(after.number());
        drop(breaker);
        if before == State::HalfOpen && after != State::HalfOpen {
            self.trial_ended.notify_waiters();
        }
        if before.number() > 0 && after.number() == 0 {
            tracing::info!("the S3 server answers again");
        }
        result
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leave for one attempt, to be told its outcome.
#[derive(Debug)]
struct Pass<'a> {
    line: &'a Line,
    /// Others wait for the outcome.
    trial: bool,
}

impl Pass<'_> {
    fn succeeded(mut self) {
        self.trial = false;
        self.line.change(|breaker, _| breaker.succeeded());
    }

    fn failed(mut self, reason: &str) {
        let how = if std::mem::take(&mut self.trial) { Breaker::trial_failed } else { Breaker::failed };
        if self.line.change(how) {
            telemetry::count_breaker_opened();
            tracing::error!(reason, "the S3 server is left alone for a while: attempt after attempt failed");
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        // Whoever made the attempt went away before its end, and those who wait for it must not wait for ever.
        if self.trial {
            self.line.change(Breaker::trial_abandoned);
        }
    }
}

/// Nothing is asked for so long; `last` is what the last attempt came to.
fn resting(left: Duration, last: Option<&str>) -> StoreError {
    let seconds = left.as_secs_f32();
    let because = last.map_or_else(String::new, |last| format!(": {last}"));
    let reason =
        format!("the S3 server has not answered lately, and is asked again in {seconds:.1} s{because}");
    StoreError::Unavailable { reason }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;

    use super::*;
    use crate::objects::s3::error::Refusal;

    fn line(failures: u32) -> Line {
        Line::new(&S3Options {
            attempt_timeout: Duration::from_secs(2),
            operation_deadline: Duration::from_secs(10),
            breaker_failures: failures,
            breaker_pause: Duration::from_secs(5),
            ..S3Options::default()
        })
    }

    fn passing() -> Failure {
        Failure::passing(Cause::Server, "500")
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_tried_until_it_succeeds() {
        let (line, made) = (line(10), AtomicU32::new(0));
        let answer = line.ask("get", "an object", || async {
            if made.fetch_add(1, Ordering::Relaxed) < 4 { Err(passing()) } else { Ok(7) }
        });
        assert_eq!(answer.await.unwrap(), 7);
        assert_eq!(made.into_inner(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_on_their_way_have_their_time_beside_that_of_the_attempt() {
        // Limits of 2 s for an attempt and 10 s for all.
        let (line, sending, began) = (line(10), Duration::from_secs(15), Instant::now());
        let put = || async {
            tokio::time::sleep(Duration::from_secs(16)).await; // Paused: as the clock of the test has it.
            Ok::<_, Failure>(7)
        };
        assert_eq!(line.send("put", "an object", sending, put).await.unwrap(), 7);
        assert_eq!(began.elapsed(), Duration::from_secs(16));
        assert!(line.ask("put", "an object", put).await.is_err());
        let (began, never) = (Instant::now(), std::future::pending::<Result<(), Failure>>);
        assert!(line.send("put", "an object", sending, never).await.is_err());
        let took = began.elapsed();
        assert!(took > Duration::from_secs(17) && took < Duration::from_secs(26), "{took:?}");
    }

    #[tokio::test]
    async fn what_is_refused_is_not_tried_again() {
        let (line, made) = (line(1), AtomicU32::new(0));
        let refusal = Refusal { status: 403, code: "AccessDenied".to_owned(), ..Refusal::default() };
        let answer = line.ask("put", "an object", || async {
            made.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(Failure::Refused(refusal.clone()))
        });
        let error = answer.await.unwrap_err().to_string();
        assert!(error.contains("AccessDenied") && error.contains("an object"), "{error}");
        assert_eq!(made.into_inner(), 1);
        line.available().unwrap();
    }

    #[tokio::test]
    async fn an_open_breaker_ends_it_at_once() {
        let (line, made) = (line(3), AtomicU32::new(0));
        let attempt = || async {
            made.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(passing())
        };
        let began = Instant::now();
        let error = line.ask("get", "an object", attempt).await.unwrap_err().to_string();
        assert!(error.ends_with("500"), "what went wrong is told: {error}");
        assert_eq!(made.load(Ordering::Relaxed), 3);
        assert!(matches!(line.available(), Err(StoreError::Unavailable { .. })));
        assert!(line.ask("get", "an object", attempt).await.is_err());
        assert_eq!(made.into_inner(), 3, "nothing is asked while it is open");
        assert!(began.elapsed() < Duration::from_secs(5));
    }

    /// A line whose breaker has opened, and whose pause is over.
    async fn after_the_pause() -> Line {
        let line = line(1);
        line.ask("get", "an object", || async { Err::<(), _>(passing()) }).await.unwrap_err();
        tokio::time::sleep(Duration::from_secs(5)).await;
        line
    }

    const TRIAL: Duration = Duration::from_secs(1);

    /// Asks twenty times at once; the first attempt takes a second and comes to `first`. When each attempt was made.
    async fn crowd(line: &Line, first: Result<(), Failure>) -> (Vec<Result<(), StoreError>>, Vec<Duration>) {
        let (made, began) = (Mutex::new(Vec::new()), Instant::now());
        let attempt = || async {
            let number = {
                let mut made = made.lock().unwrap();
                made.push(began.elapsed());
                made.len()
            };
            if number > 1 {
                return Ok(());
            }
            tokio::time::sleep(TRIAL).await;
            first.clone()
        };
        let answers = join_all((0..20).map(|_| line.ask("get", "an object", attempt))).await;
        (answers, made.into_inner().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_during_a_trial_waits_for_its_outcome() {
        let line = after_the_pause().await;
        line.available().unwrap();
        let (answers, made) = crowd(&line, Ok(())).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert_eq!((made.len(), made[0]), (20, Duration::ZERO));
        assert!(made[1..].iter().all(|at| *at >= TRIAL), "one alone asked before: {made:?}");

        let line = after_the_pause().await;
        let (answers, made) = crowd(&line, Err(passing())).await;
        assert!(answers.iter().all(Result::is_err), "{answers:?}");
        assert_eq!(made.len(), 1, "the trial failed, and nobody else asked");
        assert!(line.may_be_asked().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_for_a_trial_than_he_has_time() {
        let line = after_the_pause().await;
        let trial = line.admit(TRIAL, None).await.unwrap();
        assert!(line.available().is_err(), "no crowd is to gather");
        line.may_be_asked().unwrap();
        let began = Instant::now();
        assert!(matches!(line.admit(TRIAL, None).await, Err(StoreError::Unavailable { .. })));
        assert_eq!(began.elapsed(), TRIAL);
        trial.succeeded();
        line.admit(TRIAL, None).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_whose_asker_goes_away_is_made_by_another() {
        let line = after_the_pause().await;
        let trial = line.call("get", std::future::pending::<Result<(), Failure>>);
        let (given_up, answer) = tokio::join!(
            timeout(TRIAL / 2, trial),
            line.ask("get", "an object", || async { Ok::<_, Failure>(7) })
        );
        assert!(given_up.is_err());
        assert_eq!(answer.unwrap(), 7);
        line.available().unwrap();
    }
}
