//! `darkroomd import`: sends the photos of folders to a daemon, and never one that it has.
//!
//! In the order in which a file meets them:
//!
//! - `arguments`: what can be said. `walk`: finds the files.
//! - `digest`: hashes them. `check`: asks the daemon, in groups, which of them it has. `twins`: those with the same bytes.
//! - `sender`: sends those that it needs, a few at once: whole, or piece by piece (`resumable`); `source` reads them. `keys`
//!   makes sure that none is counted twice.
//! - `ledger`: keeps account of what became of each. `progress` and `report` show it.
//! - `wait`: until the photos are ready.
//!
//! Beside that: `client`, an exchange with the daemon; `patience`, what an answer means and when to try again; `ask`, small
//! questions; `stop`, reasons to end early; `within`, a daemon inside of this process where none runs.

#![expect(clippy::print_stderr, reason = "what a command prints is its result")]

mod arguments;
mod ask;
mod check;
mod client;
mod digest;
mod keys;
mod ledger;
mod patience;
mod progress;
mod report;
mod resumable;
mod sender;
mod source;
mod stop;
mod twins;
mod wait;
mod walk;
mod within;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hyper::{HeaderMap, Method};
use serde::Deserialize;
use tokio::sync::{Mutex, mpsc};
use uuid::Uuid;

pub(crate) use self::arguments::{AFTER_HELP, Arguments};
use self::ask::Asker;
use self::check::Checker;
use self::client::{Answer, Client, Door};
use self::keys::Keys;
use self::ledger::{Event, Ledger, Outcome, Tally};
use self::patience::{GaveUp, Reason};
use self::progress::{Progress, Waiting};
use self::report::{Ending, Report};
use self::resumable::Pace;
use self::sender::Sending;
use self::source::Payload;
use self::stop::{Stop, Why};
use self::twins::Twins;
use self::walk::{Found, Rules, Walk};
use self::within::Within;
use crate::{admin, commands, serve};

/// Longest name that an import gives a batch by itself: as long as a daemon takes by default.
const BATCH_NAME_BYTES_MAX: usize = 255;

/// Until when a daemon must have answered that a batch is over.
const CLOSING_MAX: Duration = Duration::from_secs(10);

/// What waits between two steps beyond what they hold.
const QUEUE: usize = 1024;

/// `import`.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    serve::raise_open_files();
    let runtime = commands::runtime()?;
    let ended = runtime.block_on(import(arguments));
    // Whoever reads names from standard input may wait there for ever.
    runtime.shutdown_background();
    Ok(ExitCode::from(ended? as u8))
}

async fn import(arguments: &Arguments) -> anyhow::Result<Ending> {
    let stop = Stop::default();
    listen_for_signals(stop.clone())?;
    let began = Instant::now();
    let Some(daemon) = Daemon::find(arguments, &stop).await? else {
        return nothing_done(arguments, &stop, began.elapsed());
    };
    let import = Import {
        asker: Asker {
            client: Arc::new(Client::new(daemon.door()).identified(arguments.identity()?)),
            stop: stop.clone(),
            patience: arguments.patience,
        },
        arguments,
        began,
    };
    let ended = {
        let running = import.run();
        tokio::pin!(running);
        tokio::select! {
            ended = &mut running => ended,
            why = daemon.died() => {
                stop.because(Why::Hopeless(why));
                running.await
            }
        }
    };
    let closed = daemon.end().await;
    let ended = ended?;
    closed?;
    Ok(ended)
}

/// The daemon into which the import goes.
enum Daemon {
    /// It runs.
    There(Door),
    /// None ran: it is in this process.
    Here(Box<Within>),
}

impl Daemon {
    /// None when the import is to end before it is found.
    async fn find(arguments: &Arguments, stop: &Stop) -> anyhow::Result<Option<Self>> {
        if let Some(url) = &arguments.url {
            return Ok(Some(Self::There(Door::at(url)?)));
        }
        let config = arguments.settings.config()?;
        if admin::runs(&config.server.data)? {
            return Ok(Some(Self::There(Door::Socket(config.server.data.join(admin::SOCKET)))));
        }
        let Some(within) = Within::start(&config, stop).await? else { return Ok(None) };
        if !arguments.quiet {
            eprintln!("no daemon runs: importing into {} by itself", config.server.data.display());
        }
        Ok(Some(Self::Here(Box::new(within))))
    }

    fn door(&self) -> Door {
        match self {
            Self::There(door) => door.clone(),
            Self::Here(within) => Door::Socket(within.socket()),
        }
    }

    async fn died(&self) -> String {
        match self {
            Self::There(_) => std::future::pending().await,
            Self::Here(within) => within.died().await,
        }
    }

    async fn end(self) -> anyhow::Result<()> {
        match self {
            Self::There(_) => Ok(()),
            Self::Here(within) => within.end().await,
        }
    }
}

/// The first signal ends the import in order, the second one at once.
fn listen_for_signals(stop: Stop) -> anyhow::Result<()> {
    let mut signals = serve::Signals::listen()?;
    tokio::spawn(async move {
        signals.next().await;
        eprintln!("ending: what is in flight is finished; once more ends it at once");
        stop.because(Why::Interrupted);
        signals.next().await;
        std::process::exit(i32::from(Ending::Interrupted as u8));
    });
    Ok(())
}

async fn unless_stopped<T>(stop: &Stop, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = stop.asked() => None,
    }
}

/// One import.
struct Import<'a> {
    asker: Asker,
    arguments: &'a Arguments,
    began: Instant,
}

impl Import<'_> {
    async fn run(&self) -> anyhow::Result<Ending> {
        // Before a long walk.
        self.asker.client.reach().await.map_err(anyhow::Error::msg)?;
        let Some(walk) = unless_stopped(&self.asker.stop, self.walk()).await.transpose()? else {
            return nothing_done(self.arguments, &self.asker.stop, self.began.elapsed());
        };
        let Walk { mut files, unreadable, passed_over, links, .. } = walk;
        let readable = files.len();
        files.extend(unreadable.iter().map(|(path, _)| Found { path: path.clone(), bytes: 0 }));
        let why = unreadable.into_iter().map(|(_, why)| why).collect();
        let files = Arc::new(files);
        let batch = if readable == 0 { None } else { self.open_batch(&files).await? };
        let tally = self.transfer(files, why, batch.clone()).await?;
        let processed = match &batch {
            Some(batch) if self.arguments.wait && !self.asker.stop.is_asked() => {
                let shown = Waiting::new(self.arguments.quiet);
                // All was sent, and is reported, whether or not it is known what becomes of it.
                wait::wait(&self.asker, batch, &tally.elsewhere, shown).await.unwrap_or_else(|error| {
                    self.asker.stop.because(Why::Hopeless(format!("{error:#}")));
                    None
                })
            }
            _ => None,
        };
        let meter = &self.asker.client.meter;
        // An upload that was broken off belongs to its batch, also when the next import ends it.
        if let Some(batch) = batch.as_ref().filter(|_| !meter.unfinished.load(Ordering::Relaxed)) {
            self.close_batch(batch).await;
        }
        let report = Report {
            tally,
            passed_over,
            links,
            bytes_moved: meter.sent.load(Ordering::Relaxed),
            repeated: meter.repeated.load(Ordering::Relaxed),
            took: self.began.elapsed(),
            batch,
            dry_run: self.arguments.dry_run,
            why: self.asker.stop.why().cloned(),
            processed,
        };
        print(self.arguments, &report)?;
        Ok(report.ending())
    }

    async fn walk(&self) -> anyhow::Result<Walk> {
        let arguments = self.arguments;
        let rules = Rules {
            follow: arguments.follow,
            hidden: arguments.hidden,
            all: arguments.all,
            null: arguments.null,
        };
        let (inputs, stop) = (arguments.inputs.clone(), self.asker.stop.token().clone());
        tokio::task::spawn_blocking(move || walk::walk(&inputs, rules, &stop)).await?
    }

    /// Everything from hashing to the account. `unreadable` says why the last of the files cannot be read.
    async fn transfer(
        &self,
        files: Arc<Vec<Found>>,
        unreadable: Vec<String>,
        batch: Option<String>,
    ) -> anyhow::Result<Tally> {
        let (events, told) = mpsc::channel(QUEUE);
        let ledger = self.ledger(&files);
        let keeping = tokio::spawn(ledger.keep(told));
        let readable = files.len() - unreadable.len();
        for (index, why) in (readable..).zip(unreadable) {
            let _ = events.send(Event::settled(index, Outcome::Unreadable(why))).await;
        }
        if let Some(batch) = batch {
            self.steps(&files, readable, &batch, events).await;
        } else {
            drop(events);
        }
        keeping.await?
    }

    /// Starts every step, and waits until the last has ended.
    async fn steps(
        &self,
        files: &Arc<Vec<Found>>,
        readable: usize,
        batch: &str,
        events: mpsc::Sender<Event>,
    ) {
        let stop = &self.asker.stop;
        let (hashed, to_check) = mpsc::channel(QUEUE);
        let (needed, queue) = mpsc::channel(1);
        let twins = Arc::new(Twins::default());
        let sending = Arc::new(Sending {
            asker: self.asker.clone(),
            files: Arc::clone(files),
            batch: batch.to_owned(),
            resumable_from: AtomicU64::new(self.arguments.resumable_from.as_u64()),
            twins: Arc::clone(&twins),
            keys: Keys::default(),
            pace: Pace::default(),
        });
        let (queue, mut running) = (Arc::new(Mutex::new(queue)), tokio::task::JoinSet::new());
        for _ in 0..self.arguments.jobs {
            running.spawn(Arc::clone(&sending).run(Arc::clone(&queue), events.clone()));
        }
        drop(queue);
        let needed = (!self.arguments.dry_run).then_some(needed);
        let checker = Checker::new(
            self.asker.clone(),
            Arc::clone(files),
            batch.to_owned(),
            events.clone(),
            needed,
            twins,
        );
        running.spawn(checker.run(to_check));
        running.spawn(digest::hash_all(Arc::clone(files), readable, hashed, events, stop.token().clone()));
        while let Some(ended) = running.join_next().await {
            if let Err(error) = ended {
                stop.because(Why::Hopeless(format!("a bug in the import: {error}")));
            }
        }
    }

    fn ledger(&self, files: &Arc<Vec<Found>>) -> Ledger {
        let bytes = files.iter().map(|file| file.bytes).sum();
        let progress =
            if self.arguments.quiet { Progress::silent() } else { Progress::new(files.len() as u64, bytes) };
        let lines: Option<Box<dyn Write + Send>> =
            if self.arguments.json { Some(Box::new(std::io::stdout())) } else { None };
        let meter = Arc::clone(&self.asker.client.meter);
        Ledger::new(Arc::clone(files), progress, meter, self.asker.stop.clone(), lines)
    }
}

/// Reports an import that ended before there was anything to do.
fn nothing_done(arguments: &Arguments, stop: &Stop, took: Duration) -> anyhow::Result<Ending> {
    let report = Report {
        took,
        dry_run: arguments.dry_run,
        why: Some(stop.why().cloned().unwrap_or(Why::Interrupted)),
        ..Report::default()
    };
    print(arguments, &report)?;
    Ok(report.ending())
}

fn print(arguments: &Arguments, report: &Report) -> anyhow::Result<()> {
    let text = report.text();
    let silent = arguments.quiet && report.ending() == Ending::AllIn;
    if arguments.json {
        ledger::write_line(&mut std::io::stdout(), &report.summary())
            .context("could not print the summary")?;
        if !silent {
            eprint!("{text}");
        }
    } else if !silent {
        // Whoever has read the first lines may have closed the rest.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
    Ok(())
}

/// A batch, as far as opening one tells.
#[derive(Deserialize)]
struct Opened {
    id: String,
}

impl Import<'_> {
    /// None when the import is to end before.
    async fn open_batch(&self, files: &[Found]) -> anyhow::Result<Option<String>> {
        let mut name = self.arguments.batch.clone().unwrap_or_else(|| {
            let first = self.arguments.inputs.first();
            shortened(&first.map(|path| path.display().to_string()).unwrap_or_default(), BATCH_NAME_BYTES_MAX)
        });
        loop {
            let refused = match self.open_batch_as(&name, files).await {
                Ok(answer) => {
                    let opened: Opened = serde_json::from_slice(&answer.body)
                        .context("the answer to a new batch is not understood")?;
                    return Ok(Some(opened.id));
                }
                Err(GaveUp::Stopped) => match self.asker.stop.why() {
                    Some(Why::Hopeless(why)) => Reason::local(why.clone()),
                    _ => return Ok(None),
                },
                // This daemon takes no name as long as that, and nobody asked for just this one.
                Err(GaveUp::Refused(reason))
                    if reason.is("invalid-parameter")
                        && self.arguments.batch.is_none()
                        && !name.is_empty() =>
                {
                    name = shortened(&name, name.len() / 2);
                    continue;
                }
                Err(GaveUp::Refused(reason) | GaveUp::Failed(reason)) => reason,
            };
            bail!("could not open a batch at {}: {refused}", self.asker.client.door());
        }
    }

    async fn open_batch_as(&self, name: &str, files: &[Found]) -> Result<Answer, GaveUp> {
        let question = serde_json::json!({
            "name": (!name.is_empty()).then_some(name),
            "expected": files.len(),
            "expected_bytes": files.iter().map(|file| file.bytes).sum::<u64>(),
        });
        // A second try after a lost answer opens no second one.
        let key = Uuid::new_v4().to_string();
        let key = [("idempotency-key", key.as_str())];
        self.asker.ask_with(Method::POST, "/v1/batches", Some(&question), &key).await
    }

    /// Nothing more will be sent to it. Tried once: a batch that does not hear of it ends by itself.
    async fn close_batch(&self, batch: &str) {
        let how = if self.arguments.dry_run { "cancel" } else { "close" };
        let path = format!("/v1/batches/{batch}/{how}");
        let closing = self.asker.client.send(Method::POST, &path, HeaderMap::new(), Payload::empty());
        let _ = tokio::time::timeout(CLOSING_MAX, closing).await;
    }
}

/// A name's beginning, of at most so many bytes.
fn shortened(name: &str, bytes_max: usize) -> String {
    name[..name.floor_char_boundary(bytes_max)].to_owned()
}
