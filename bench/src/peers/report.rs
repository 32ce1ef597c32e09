//! Medians, and the table of all sides.

use serde::Serialize;

use super::side::{Contender, Kept, Rate, Side};
use crate::table::{Align, table};

/// One row, as JSON has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) task: String,
    pub(super) side: String,
    /// What set it apart, how it was used, and every version.
    pub(super) settings: String,
    /// Of the encoding: rows of a task are alike where it is the same.
    #[serde(skip)]
    pub(super) label: String,
    /// Wall clock, all cores; the median of the rounds.
    pub(super) photos_per_second: f64,
    /// User and system time; the median of the rounds.
    pub(super) cpu_ms_per_photo: f64,
    /// Of all variants of a photo together, on average.
    pub(super) bytes: u64,
    /// Mean of the first photos' variants; `null` where no reference could be made.
    pub(super) ssim: Option<f64>,
}

/// A row as it is gathered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) contender: Contender,
    pub(super) kept: Kept,
    /// One per variant of each photo of which a reference could be made.
    pub(super) ssim: Vec<f64>,
    pub(super) rounds: Vec<Rate>,
}

impl Entry {
    /// The medians of the rounds that it took part in, of which the settings tell where they are fewer than `rounds`. `None`
    /// for none.
    pub(super) fn row(&self, task: &str, mut settings: String, rounds: u32) -> Option<Row> {
        if self.rounds.len() < rounds as usize {
            let failed = rounds as usize - self.rounds.len();
            settings = format!("{settings}; failed in {failed} of {rounds} rounds");
        }
        Some(Row {
            task: task.to_owned(),
            side: self.contender.side.name().to_owned(),
            settings,
            label: self.contender.encoding.label(),
            photos_per_second: median(self.rounds.iter().map(|round| round.photos_per_second))?,
            cpu_ms_per_photo: median(self.rounds.iter().map(|round| round.cpu_ms_per_photo))?,
            bytes: self.kept.bytes.round() as u64,
            ssim: (!self.ssim.is_empty()).then(|| self.ssim.iter().sum::<f64>() / self.ssim.len() as f64),
        })
    }
}

/// The value in the middle, or the mean of the two there.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

/// darkroom's rows of a row's task, its own included.
fn darkrooms<'a>(rows: &'a [Row], row: &Row) -> impl Iterator<Item = &'a Row> {
    rows.iter().filter(move |other| other.task == row.task && other.side == Side::Darkroom.name())
}

/// What a row is compared with: darkroom's row of the same task and label.
fn counterpart<'a>(rows: &'a [Row], row: &Row) -> Option<&'a Row> {
    darkrooms(rows, row).find(|own| own.label == row.label)
}

/// A sentence for each row that has no counterpart: what it does beside what darkroom does instead.
pub(super) fn unlike(rows: &[Row]) -> Vec<String> {
    let sentence = |row: &Row| {
        let own = darkrooms(rows, row).next()?;
        Some(format!(
            "{}: darkroom, {}, makes {:.2} times the photos/s of {}, {}, in {:.2} times the bytes.",
            row.task,
            own.label,
            own.photos_per_second / row.photos_per_second,
            row.side,
            row.label,
            own.bytes as f64 / row.bytes as f64,
        ))
    };
    rows.iter().filter(|row| counterpart(rows, row).is_none()).filter_map(sentence).collect()
}

/// A sentence for figures that were not measured on a machine of their own: less than nine tenths of the cores were used.
pub(super) fn shared_machine(rows: &[Row], cores: usize) -> Option<String> {
    let used = |row: &Row| row.photos_per_second * row.cpu_ms_per_photo / 1e3;
    let least = rows.iter().map(used).fold(f64::INFINITY, f64::min);
    let most = rows.iter().map(used).fold(0.0, f64::max);
    (most > 0.0 && least < 0.9 * cores as f64).then(|| {
        format!(
            "The sides had {least:.1} to {most:.1} of {cores} cores: where that differs because others work on this machine, \
             compare CPU ms/photo rather than photos/s."
        )
    })
}

/// All rows, aligned. The settings stand last, because they are long.
pub(super) fn as_table(rows: &[Row]) -> String {
    let columns = [
        ("task", Align::Left),
        ("side", Align::Left),
        ("photos/s", Align::Right),
        ("of darkroom", Align::Right),
        ("CPU ms/photo", Align::Right),
        ("bytes/photo", Align::Right),
        ("SSIM", Align::Right),
        ("settings", Align::Left),
    ];
    let cells = |row: &Row| {
        let ratio = counterpart(rows, row).map(|own| row.photos_per_second / own.photos_per_second);
        vec![
            row.task.clone(),
            row.side.clone(),
            format!("{:.2}", row.photos_per_second),
            ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
            format!("{:.1}", row.cpu_ms_per_photo),
            row.bytes.to_string(),
            row.ssim.map_or_else(|| "-".to_owned(), |ssim| format!("{ssim:.4}")),
            row.settings.clone(),
        ]
    };
    table(&columns, &rows.iter().map(cells).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::side::contenders;
    use crate::peers::task::Codec;

    fn row(side: &str, label: &str, photos_per_second: f64) -> Row {
        Row {
            task: "t".to_owned(),
            side: side.to_owned(),
            settings: format!("{label}, q"),
            label: label.to_owned(),
            photos_per_second,
            cpu_ms_per_photo: 100.0,
            bytes: 1234,
            ssim: None,
        }
    }

    #[test]
    fn json_has_exactly_these_keys() {
        assert_eq!(
            serde_json::to_string(&row("darkroom", "no opt", 2.5)).unwrap(),
            r#"{"task":"t","side":"darkroom","settings":"no opt, q","photos_per_second":2.5,"cpu_ms_per_photo":100.0,"bytes":1234,"ssim":null}"#
        );
    }

    #[test]
    fn medians_of_rounds_become_a_row() {
        let rate = |photos_per_second| Rate { photos_per_second, cpu_ms_per_photo: 10.0 / photos_per_second };
        let mut entry = Entry {
            contender: contenders(Codec::Jpeg)[0],
            kept: Kept { versions: "v".to_owned(), bytes: 99.6 },
            ssim: vec![0.9, 1.0],
            rounds: Vec::new(),
        };
        assert_eq!(entry.row("t", "s".to_owned(), 3), None);
        entry.rounds = vec![rate(1.0), rate(5.0), rate(2.0)];
        let row = entry.row("t", "s".to_owned(), 3).unwrap();
        assert_eq!((row.photos_per_second, row.cpu_ms_per_photo, row.bytes), (2.0, 5.0, 100));
        assert_eq!((row.settings.as_str(), row.label.as_str()), ("s", "no opt"));
        assert!((row.ssim.unwrap() - 0.95).abs() < 1e-12);
        let fewer = entry.row("t", "s".to_owned(), 5).unwrap();
        assert_eq!((fewer.photos_per_second, fewer.settings.as_str()), (2.0, "s; failed in 2 of 5 rounds"));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }

    #[test]
    fn a_machine_that_was_shared_is_told() {
        // 100 ms each: 20 photos a second keep two cores busy.
        let rows = [row("darkroom", "no opt", 20.0), row("pillow", "no opt", 19.0)];
        assert_eq!(shared_machine(&rows, 2), None);
        let note = shared_machine(&[rows[0].clone(), row("pillow", "no opt", 5.0)], 2).unwrap();
        assert!(note.starts_with("The sides had 0.5 to 2.0 of 2 cores"), "{note}");
        assert_eq!(shared_machine(&[], 2), None);
    }

    #[test]
    fn only_like_is_divided_by_like() {
        let rows = [
            row("darkroom", "effort 2", 10.0),
            row("darkroom", "effort 4", 5.0),
            row("pillow", "effort 4", 1.0),
            row("sharp-clone", "opt", 4.0),
        ];
        let text = as_table(&rows);
        let ratios: Vec<&str> =
            text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(3)).collect();
        assert_eq!(ratios, ["1.00", "1.00", "0.20", "-"]);
        let alone = as_table(&rows[2..3]);
        assert_eq!(alone.lines().nth(1).unwrap().split_whitespace().nth(3), Some("-"));
        let sentence = "t: darkroom, effort 2, makes 2.50 times the photos/s of sharp-clone, opt, in 1.00 times the bytes.";
        assert_eq!(unlike(&rows), [sentence]);
        assert!(unlike(&rows[2..]).is_empty(), "without darkroom there is nothing to say");
    }
}
