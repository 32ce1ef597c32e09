//! Says at the end what became of it all.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Serialize;

use super::ledger::{Count, Group, Kind, Tally};
use super::stop::Why;
use super::wait::Processed;
use super::walk::NO_FILE;

/// All that is known at the end.
#[derive(Default)]
pub(super) struct Report {
    pub(super) tally: Tally,
    pub(super) passed_over: BTreeMap<String, u64>,
    pub(super) links: u64,
    /// Bytes that left, repeated ones too.
    pub(super) bytes_moved: u64,
    pub(super) repeated: u64,
    pub(super) took: Duration,
    pub(super) batch: Option<String>,
    pub(super) dry_run: bool,
    pub(super) why: Option<Why>,
    /// What became of the photos, if that was waited for.
    pub(super) processed: Option<Processed>,
}

/// How an import ended, as its exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    AllIn = 0,
    SomeNot = 2,
    Interrupted = 130,
}

/// The last line of `--json`.
#[derive(Serialize)]
pub(super) struct Summary<'r> {
    summary: Totals<'r>,
}

#[derive(Serialize)]
struct Totals<'r> {
    batch: Option<&'r str>,
    dry_run: bool,
    files: u64,
    bytes: u64,
    /// Each of [`Kind`], also where there are none.
    counts: BTreeMap<Kind, Count>,
    passed_over: u64,
    bytes_moved: u64,
    repeated: u64,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ready: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    processing_failed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<&'r str>,
    exit_status: u8,
}

const KINDS: [(Kind, &str); 9] = [
    (Kind::Sent, "sent"),
    (Kind::Duplicate, "duplicates"),
    (Kind::Have, "there already"),
    (Kind::Need, "would be sent"),
    (Kind::Refused, "refused"),
    (Kind::Failed, "failed"),
    (Kind::Changed, "changed meanwhile"),
    (Kind::Unreadable, "unreadable"),
    (Kind::NotSent, "not sent"),
];

impl Report {
    pub(super) fn ending(&self) -> Ending {
        let failed = self.processed.as_ref().is_some_and(|processed| processed.failed > 0);
        match self.why {
            Some(Why::Interrupted) => Ending::Interrupted,
            Some(Why::Hopeless(_)) => Ending::SomeNot,
            None if failed || self.tally.bad().files > 0 => Ending::SomeNot,
            None => Ending::AllIn,
        }
    }

    pub(super) fn summary(&self) -> Summary<'_> {
        let all = self.tally.settled();
        Summary {
            summary: Totals {
                batch: self.batch.as_deref(),
                dry_run: self.dry_run,
                files: all.files,
                bytes: all.bytes,
                counts: KINDS.iter().map(|(kind, _)| (*kind, self.tally.of(*kind))).collect(),
                passed_over: self.passed_over.values().sum(),
                bytes_moved: self.bytes_moved,
                repeated: self.repeated,
                seconds: self.took.as_secs_f64(),
                ready: self.processed.as_ref().map(|processed| processed.ready),
                processing_failed: self.processed.as_ref().map(|processed| processed.failed),
                stopped: self.why.as_ref().map(|why| match why {
                    Why::Interrupted => "interrupted",
                    Why::Hopeless(text) => text,
                }),
                exit_status: self.ending() as u8,
            },
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let all = self.tally.settled();
        let looked = if self.dry_run { "looked at" } else { "imported" };
        let _ = writeln!(text, "{looked} {} in {}", amount(all), time(self.took));
        for (kind, name) in KINDS {
            let count = self.tally.of(kind);
            if count.files > 0 {
                let speed = if kind == Kind::Sent { self.speed(count) } else { String::new() };
                let _ = writeln!(text, "  {name:<18} {}{speed}", amount(count));
                self.reasons(&mut text, kind);
            }
        }
        self.processing(&mut text);
        self.not_looked_at(&mut text);
        if let Some(batch) = &self.batch {
            let _ = writeln!(text, "  batch {batch}");
        }
        self.elsewhere(&mut text);
        match &self.why {
            Some(Why::Interrupted) => text.push_str("interrupted: the same command sends what is missing\n"),
            Some(Why::Hopeless(why)) => {
                let _ = writeln!(text, "ended early: {why}\nthe same command sends what is missing");
            }
            None => {}
        }
        text
    }

    /// Which of what was sent is not counted in this import's batch.
    fn elsewhere(&self, text: &mut String) {
        let mut batches = BTreeMap::<_, u64>::new();
        for photo in &self.tally.elsewhere {
            *batches.entry(&photo.batch).or_default() += 1;
        }
        for (batch, count) in batches {
            let _ = writeln!(
                text,
                "  batch {batch} counts {count} of these: an earlier import began to send them"
            );
        }
    }

    fn speed(&self, sent: Count) -> String {
        let each_second = sent.files as f64 / self.took.as_secs_f64().max(0.001);
        let again = match self.repeated {
            0 => String::new(),
            repeated => format!(", {repeated} requests tried again"),
        };
        format!(" ({each_second:.1} a second, {}{again})", rate(self.bytes_moved, self.took))
    }

    fn reasons(&self, text: &mut String, wanted: Kind) {
        let groups = self.tally.groups.iter().filter(|((kind, _), _)| *kind == wanted);
        let mut groups: Vec<_> = groups.map(|((_, name), group)| (name, group)).collect();
        groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.files));
        for (name, group) in groups {
            reason(text, name, group);
        }
    }

    fn processing(&self, text: &mut String) {
        let Some(processed) = &self.processed else { return };
        let _ = writeln!(text, "  {:<18} {}", "ready", processed.ready);
        if processed.failed > 0 {
            let _ = writeln!(text, "  {:<18} {}", "cannot be shown", processed.failed);
            for (name, group) in &processed.groups {
                reason(text, name, group);
            }
        }
    }

    fn not_looked_at(&self, text: &mut String) {
        if let Some(special) = self.passed_over.get(NO_FILE) {
            let _ = writeln!(text, "  {:<18} {special} {NO_FILE}", "passed over");
        }
        let mut kinds: Vec<_> = self.passed_over.iter().filter(|(name, _)| *name != NO_FILE).collect();
        let files: u64 = kinds.iter().map(|(_, count)| *count).sum();
        if files > 0 {
            kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let more = if kinds.len() > 5 { ", …" } else { "" };
            let kinds: Vec<_> = kinds.iter().take(5).map(|(name, count)| format!("{name} {count}")).collect();
            let _ = writeln!(
                text,
                "  {:<18} {files}, no photos by their names ({}{more}); --all sends them too",
                "passed over",
                kinds.join(", ")
            );
        }
        if self.links > 0 {
            let _ = writeln!(
                text,
                "  {:<18} {} symbolic links; --follow follows them",
                "not followed", self.links
            );
        }
    }
}

/// A reason, and the first files that it concerns.
fn reason(text: &mut String, name: &str, group: &Group) {
    let said = if group.detail == name { name.to_owned() } else { format!("{name}: {}", group.detail) };
    let _ = writeln!(text, "    {} × {said}", group.files);
    for path in &group.names {
        let _ = writeln!(text, "        {}", path.display());
    }
    let more = group.files - group.names.len() as u64;
    if more > 0 {
        let _ = writeln!(text, "        and {more} more");
    }
}

fn amount(count: Count) -> String {
    let files = if count.files == 1 { "file" } else { "files" };
    format!("{} {files}, {}", count.files, ByteSize(count.bytes))
}

/// Bytes a second.
pub(super) fn rate(bytes: u64, took: Duration) -> String {
    format!("{}/s", ByteSize((bytes as f64 / took.as_secs_f64().max(0.001)) as u64))
}

/// A time as people say it.
pub(super) fn time(took: Duration) -> String {
    if took < Duration::from_secs(60) {
        return format!("{:.1} s", took.as_secs_f64());
    }
    let seconds = took.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Elsewhere;
    use super::super::patience::Reason;
    use super::*;

    fn report() -> Report {
        let mut tally = Tally::default();
        tally.counts.insert(Kind::Sent, Count { files: 3, bytes: 3 << 20 });
        tally.counts.insert(Kind::Refused, Count { files: 7, bytes: 7 });
        for number in 0..7 {
            let reason =
                Reason { code: Some("unsupported-image".to_owned()), detail: "it is text".to_owned() };
            tally.explain(Kind::Refused, &reason, format!("{number}.txt").into());
        }
        for photo in ["p1", "p2"] {
            let (path, batch) = (photo.into(), "b0".to_owned());
            tally.elsewhere.push(Elsewhere { path, photo: photo.to_owned(), batch });
        }
        Report {
            tally,
            passed_over: [(".txt".to_owned(), 4), (".xmp".to_owned(), 9), (NO_FILE.to_owned(), 1)].into(),
            links: 2,
            bytes_moved: 4 << 20,
            repeated: 1,
            took: Duration::from_secs(2),
            batch: Some("b1".to_owned()),
            dry_run: false,
            why: None,
            processed: None,
        }
    }

    #[test]
    fn people_read_what_became_of_it_and_why() {
        let text = report().text();
        for part in [
            "imported 10 files, 3.0 MiB in 2.0 s",
            "sent               3 files, 3.0 MiB (1.5 a second, 2.0 MiB/s, 1 requests tried again)",
            "7 × unsupported-image: it is text",
            "4.txt",
            "and 2 more",
            "13, no photos by their names (.xmp 9, .txt 4); --all",
            "1 pipes, sockets and devices",
            "2 symbolic links",
            "batch b1\n",
            "batch b0 counts 2 of these",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert!(!text.contains("5.txt") && !text.contains("duplicates"), "{text}");
    }

    #[test]
    fn the_exit_status_says_how_it_ended() {
        let mut report = report();
        assert_eq!(report.ending() as u8, 2);
        report.tally = Tally::default();
        assert_eq!(report.ending() as u8, 0);
        report.why = Some(Why::Hopeless("the disk is full".to_owned()));
        assert!(report.ending() as u8 == 2 && report.text().contains("ended early: the disk is full"));
        report.why = Some(Why::Interrupted);
        assert_eq!(report.ending() as u8, 130);
    }

    #[test]
    fn programs_read_every_count_also_those_of_nothing() {
        let report = report();
        let summary = &serde_json::to_value(report.summary()).unwrap()["summary"];
        assert_eq!(summary["counts"]["refused"], serde_json::json!({"files": 7, "bytes": 7}));
        assert_eq!(summary["counts"]["changed"], serde_json::json!({"files": 0, "bytes": 0}));
        assert_eq!((&summary["files"], &summary["exit_status"]), (&10.into(), &2.into()));
    }

    #[test]
    fn times_are_said_as_people_say_them() {
        let said = |seconds| time(Duration::from_secs(seconds));
        assert_eq!([said(5), said(65), said(7260)], ["5.0 s", "1 min 5 s", "2 h 1 min"]);
    }
}
