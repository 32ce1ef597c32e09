//! Keeps account: what became of every file, how much of it there was, and the lines of `--json`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::client::Meter;
use super::patience::Reason;
use super::progress::Progress;
use super::stop::{Stop, Why};
use super::walk::Found;

/// How often the progress is looked at when nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// Names that are kept of the files with the same reason.
const NAMES_MAX: usize = 5;

/// Reasons that are told apart; beyond it they are counted together.
const REASONS_MAX: usize = 100;

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was sent, and is a photo; of another batch than this import's, if one is named.
    Sent { photo: String, elsewhere: Option<String> },
    /// It was sent, and the daemon had a photo of these bytes.
    Duplicate { photo: String },
    /// It has the bytes of another file of this import: what became of that one becomes of it.
    SameAs(usize),
    /// It was there already, and was not sent.
    Have { photo: Option<String> },
    /// It would be sent, from this byte on.
    Need { offset: u64 },
    /// The daemon does not want it.
    Refused(Reason),
    /// It could not be sent.
    Failed(Reason),
    /// It changed while it was read or sent, and nothing of it is there.
    Changed,
    /// It could not be read.
    Unreadable(String),
    /// The import ended before its turn, or in the middle of it.
    NotSent,
}

/// What became of files, as the report counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Sent,
    Duplicate,
    Have,
    Need,
    Refused,
    Failed,
    Changed,
    Unreadable,
    NotSent,
}

impl Kind {
    /// Whether the file is not there, although it should be.
    pub(super) fn is_bad(self) -> bool {
        matches!(self, Self::Refused | Self::Failed | Self::Changed | Self::Unreadable | Self::NotSent)
    }
}

/// What the ledger is told.
#[derive(Debug)]
pub(super) enum Event {
    Settled { index: usize, outcome: Outcome },
}

impl Event {
    pub(super) fn settled(index: usize, outcome: Outcome) -> Self {
        Self::Settled { index, outcome }
    }
}

/// Files and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Count {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// Files with the same reason.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    pub(super) files: u64,
    /// What was said of the first.
    pub(super) detail: String,
    /// The first few.
    pub(super) names: Vec<PathBuf>,
}

/// A photo that was sent, and is counted in the batch of an earlier import, which began to send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Elsewhere {
    pub(super) path: PathBuf,
    pub(super) photo: String,
    pub(super) batch: String,
}

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// As many as an owner may have uploads in progress, at most.
    pub(super) elsewhere: Vec<Elsewhere>,
    pub(super) counts: BTreeMap<Kind, Count>,
    /// By what is wrong and why.
    pub(super) groups: BTreeMap<(Kind, String), Group>,
}

impl Tally {
    pub(super) fn of(&self, kind: Kind) -> Count {
        self.counts.get(&kind).copied().unwrap_or_default()
    }

    /// Files and bytes of which it is known what became of them.
    pub(super) fn settled(&self) -> Count {
        self.sum(|_| true)
    }

    pub(super) fn bad(&self) -> Count {
        self.sum(Kind::is_bad)
    }

    fn sum(&self, wanted: impl Fn(Kind) -> bool) -> Count {
        let counts = self.counts.iter().filter(|(kind, _)| wanted(**kind));
        counts.fold(Count::default(), |sum, (_, count)| Count {
            files: sum.files + count.files,
            bytes: sum.bytes + count.bytes,
        })
    }

    fn add(&mut self, kind: Kind, bytes: u64) {
        let count = self.counts.entry(kind).or_default();
        count.files += 1;
        count.bytes += bytes;
    }

    pub(super) fn explain(&mut self, kind: Kind, reason: &Reason, path: PathBuf) {
        let name = reason.code.clone().unwrap_or_else(|| reason.detail.clone());
        let full = self.groups.len() >= REASONS_MAX && !self.groups.contains_key(&(kind, name.clone()));
        let name = if full { "other reasons".to_owned() } else { name };
        let group = self.groups.entry((kind, name)).or_default();
        if group.files == 0 {
            group.detail.clone_from(&reason.detail);
        }
        group.files += 1;
        if group.names.len() < NAMES_MAX {
            group.names.push(path);
        }
    }
}

/// One line of `--json`.
#[derive(Serialize)]
struct Line<'l> {
    path: &'l str,
    state: Kind,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    photo: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    same_as: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'l str>,
}

/// The account.
pub(super) struct Ledger {
    files: Arc<Vec<Found>>,
    /// What is known of each file.
    known: Vec<Option<Kind>>,
    tally: Tally,
    progress: Progress,
    meter: Arc<Meter>,
    stop: Stop,
    lines: Option<Box<dyn Write + Send>>,
}

impl Ledger {
    pub(super) fn new(
        files: Arc<Vec<Found>>,
        progress: Progress,
        meter: Arc<Meter>,
        stop: Stop,
        lines: Option<Box<dyn Write + Send>>,
    ) -> Self {
        let known = vec![None; files.len()];
        Self { files, known, tally: Tally::default(), progress, meter, stop, lines }
    }

    /// Takes events until nobody can send any more, on a thread of its own: whoever reads the lines may be slow. What is
    /// not known of then was not sent.
    pub(super) async fn keep(mut self, mut events: mpsc::Receiver<Event>) -> anyhow::Result<Tally> {
        let runtime = Handle::current();
        let keeping = tokio::task::spawn_blocking(move || {
            loop {
                let event = runtime.block_on(async { tokio::time::timeout(TICK, events.recv()).await });
                match event {
                    Ok(Some(Event::Settled { index, outcome })) => self.settle(index, &outcome),
                    Ok(None) => break,
                    Err(_) => {}
                }
                self.progress.show(&self.tally, &self.meter);
            }
            self.close()
        });
        Ok(keeping.await?)
    }

    fn close(mut self) -> Tally {
        for index in 0..self.files.len() {
            if self.known[index].is_none() {
                self.note(index, Kind::NotSent, &Outcome::NotSent);
            }
        }
        self.progress.end();
        self.tally
    }

    fn settle(&mut self, index: usize, outcome: &Outcome) {
        let kind = match outcome {
            Outcome::Sent { .. } => Kind::Sent,
            Outcome::Duplicate { .. } => Kind::Duplicate,
            Outcome::Have { .. } => Kind::Have,
            Outcome::Need { .. } => Kind::Need,
            Outcome::Refused(_) => Kind::Refused,
            Outcome::Failed(_) => Kind::Failed,
            Outcome::Changed => Kind::Changed,
            Outcome::Unreadable(_) => Kind::Unreadable,
            Outcome::NotSent => Kind::NotSent,
            // What became of the first is told first.
            Outcome::SameAs(first) => self.known[*first].map_or(Kind::NotSent, like),
        };
        self.note(index, kind, outcome);
    }

    fn note(&mut self, index: usize, kind: Kind, outcome: &Outcome) {
        let file = &self.files[index];
        self.known[index] = Some(kind);
        self.tally.add(kind, file.bytes);
        if let Outcome::Sent { photo, elsewhere: Some(batch) } = outcome {
            let (path, photo, batch) = (file.path.clone(), photo.clone(), batch.clone());
            self.tally.elsewhere.push(Elsewhere { path, photo, batch });
        }
        let same_as = match outcome {
            Outcome::SameAs(first) => Some(self.files[*first].path.display().to_string()),
            _ => None,
        };
        let reason = match outcome {
            Outcome::Refused(reason) | Outcome::Failed(reason) => Some(reason.clone()),
            Outcome::Changed => Some(Reason::local("it changed while it was read or sent; import it again")),
            Outcome::Unreadable(why) => Some(Reason::local(why.clone())),
            Outcome::SameAs(_) if kind.is_bad() && kind != Kind::NotSent => Some(Reason::local(
                "it has the same bytes as another file of this import, of which this is said too",
            )),
            _ => None,
        };
        if let Some(reason) = &reason {
            self.tally.explain(kind, reason, file.path.clone());
        }
        let line = Line {
            path: &file.path.to_string_lossy(),
            state: kind,
            bytes: file.bytes,
            photo: match outcome {
                Outcome::Sent { photo, .. } | Outcome::Duplicate { photo } => Some(photo),
                Outcome::Have { photo } => photo.as_deref(),
                _ => None,
            },
            batch: match outcome {
                Outcome::Sent { elsewhere, .. } => elsewhere.as_deref(),
                _ => None,
            },
            same_as,
            offset: match outcome {
                Outcome::Need { offset } => Some(*offset),
                _ => None,
            },
            code: reason.as_ref().and_then(|reason| reason.code.as_deref()),
            detail: reason.as_ref().map(|reason| reason.detail.as_str()),
        };
        let written = self.lines.as_mut().map_or(Ok(()), |lines| write_line(lines, &line));
        if let Err(error) = written {
            self.lines = None;
            let text = format!("whoever reads the lines of --json has gone: {error}");
            self.stop.because(Why::Hopeless(text));
        }
    }
}

/// What becomes of a file whose bytes are those of another that this became of.
fn like(first: Kind) -> Kind {
    if first.is_bad() { first } else { Kind::Duplicate }
}

pub(super) fn write_line(lines: &mut dyn Write, line: &impl Serialize) -> std::io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    lines.write_all(&text)?;
    lines.flush()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Sheet(Arc<Mutex<Vec<u8>>>);

    impl Write for Sheet {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    async fn kept(count: usize, events: Vec<(usize, Outcome)>) -> (Tally, Vec<Value>) {
        let files = (0..count).map(|index| Found { path: format!("{index}.jpg").into(), bytes: 10 });
        let (sheet, stop) = (Sheet::default(), Stop::default());
        let lines: Option<Box<dyn Write + Send>> = Some(Box::new(sheet.clone()));
        let ledger = Ledger::new(Arc::new(files.collect()), Progress::silent(), Meter::new(), stop, lines);
        let (sender, receiver) = mpsc::channel(10);
        let keeping = tokio::spawn(ledger.keep(receiver));
        for (index, outcome) in events {
            sender.send(Event::settled(index, outcome)).await.unwrap();
        }
        drop(sender);
        let tally = keeping.await.unwrap().unwrap();
        let lines = String::from_utf8(sheet.0.lock().unwrap().clone()).unwrap();
        (tally, lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    #[tokio::test]
    async fn every_file_has_one_line_and_is_counted_once() {
        let refused = Reason { code: Some("unsupported-image".to_owned()), detail: "it is text".to_owned() };
        let (tally, lines) = kept(
            6,
            vec![
                (0, Outcome::Sent { photo: "p".to_owned(), elsewhere: Some("b".to_owned()) }),
                (1, Outcome::SameAs(0)),
                (2, Outcome::Refused(refused)),
                (3, Outcome::SameAs(2)),
                (4, Outcome::Unreadable("permission denied".to_owned())),
            ],
        )
        .await;
        assert_eq!(lines.len(), 6);
        assert_eq!((&lines[0]["state"], &lines[0]["photo"]), (&"sent".into(), &"p".into()));
        assert_eq!((&lines[0]["batch"], &lines[1]["batch"]), (&"b".into(), &Value::Null));
        assert_eq!(tally.elsewhere.len(), 1);
        assert_eq!((&lines[1]["state"], &lines[1]["same_as"]), (&"duplicate".into(), &"0.jpg".into()));
        assert_eq!((&lines[2]["code"], &lines[3]["same_as"]), (&"unsupported-image".into(), &"2.jpg".into()));
        assert_eq!((&lines[5]["path"], &lines[5]["state"]), (&"5.jpg".into(), &"not_sent".into()));
        assert_eq!((tally.settled().files, tally.bad().files), (6, 4));
        assert_eq!(tally.of(Kind::Refused), Count { files: 2, bytes: 20 });
    }

    #[tokio::test]
    async fn reasons_are_grouped_with_their_first_names_and_their_number_is_bounded() {
        let failed = |index: usize| Outcome::Failed(Reason::local(format!("reason {}", index / 7)));
        let (tally, _) = kept(1500, (0..1500).map(|index| (index, failed(index))).collect()).await;
        let first = &tally.groups[&(Kind::Failed, "reason 0".to_owned())];
        assert_eq!((first.files, first.names.len()), (7, NAMES_MAX));
        assert_eq!(tally.groups.len(), REASONS_MAX + 1);
        assert_eq!(tally.groups.values().map(|group| group.files).sum::<u64>(), 1500);
    }
}
