//! Who is measured, and with which settings.

use std::path::Path;
use std::time::Duration;

use super::install::Tools;
use super::own;
use super::peer::Peer;
use super::task::{Codec, Task};
use crate::engine::{Format, Output, presets};

/// Quality of every variant of every side.
pub(super) const QUALITY: u8 = 80;
/// How many photos' variants are kept and compared with a reference, at most.
pub(super) const KEPT_PHOTOS_MAX: usize = 4;

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Darkroom,
    Peer(Peer),
}

impl Side {
    /// As in tables and JSON.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Darkroom => "darkroom",
            Self::Peer(peer) => peer.name(),
        }
    }
}

/// What sets a side's rows apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// With Huffman tables that are computed for each file, or the standard's.
    Jpeg { optimise: bool },
    /// With a method of libwebp, 0 (fastest) to 6 (smallest).
    WebP { effort: u8 },
}

impl Encoding {
    /// Rows of one task with the same label are alike.
    pub(super) fn label(self) -> String {
        match self {
            Self::Jpeg { optimise: true } => "opt".to_owned(),
            Self::Jpeg { optimise: false } => "no opt".to_owned(),
            Self::WebP { effort } => format!("effort {effort}"),
        }
    }

    pub(super) const fn output(self) -> Output {
        match self {
            Self::Jpeg { optimise } => {
                Output { format: Format::Jpeg, quality: QUALITY, optimise, effort: None }
            }
            Self::WebP { effort } => {
                Output { format: Format::WebP, quality: QUALITY, optimise: false, effort: Some(effort) }
            }
        }
    }
}

/// A side with its settings: one row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contender {
    pub(super) side: Side,
    pub(super) encoding: Encoding,
}

/// What a measurement gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate {
    /// Of the wall clock, all cores together.
    pub(super) photos_per_second: f64,
    /// User and system time.
    pub(super) cpu_ms_per_photo: f64,
}

/// What a first run gave, whose variants were kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    /// Names and versions of what did the work.
    pub(super) versions: String,
    /// Of all variants of a photo, on average.
    pub(super) bytes: f64,
}

/// Every row of a task with this codec, in the table's order.
pub(super) fn contenders(codec: Codec) -> Vec<Contender> {
    let [expert, clone, pyvips, pillow] =
        [Peer::SharpExpert, Peer::SharpClone, Peer::Pyvips, Peer::Pillow].map(Side::Peer);
    let jpeg = |side, optimise| Contender { side, encoding: Encoding::Jpeg { optimise } };
    let webp = |side, effort| Contender { side, encoding: Encoding::WebP { effort } };
    match codec {
        Codec::Jpeg => vec![
            // jpeg-encoder's computed tables come with one scan per component: darkroom has no row with them.
            jpeg(Side::Darkroom, false),
            jpeg(expert, false),
            jpeg(expert, true),
            // What sharp does by default; libvips and Pillow take the standard's tables.
            jpeg(clone, true),
            jpeg(pyvips, false),
            jpeg(pillow, false),
        ],
        Codec::WebP => {
            let experts = [Side::Darkroom, expert, pyvips, pillow];
            let both = experts.into_iter().flat_map(|side| [2, 4].map(|effort| webp(side, effort)));
            // What sharp does by default.
            both.chain([webp(clone, 4)]).collect()
        }
    }
}

impl Contender {
    /// Side and label, for messages and folders.
    pub(super) fn name(self) -> String {
        format!("{}, {}", self.side.name(), self.encoding.label())
    }

    /// Everything that a reader needs to do the same again.
    pub(super) fn settings(self, versions: &str, task: &Task, cores: usize) -> String {
        let single = task.sizes.len() == 1;
        let way = match self.side {
            Side::Darkroom => own::way(self.encoding, single, cores),
            Side::Peer(peer) => peer.way(single, cores),
        };
        format!("{}, quality {QUALITY}; {way}; {versions}", self.encoding.label())
    }

    /// Renders every photo of the task once, and writes the variants of the first ones to `folder`.
    pub(super) fn keep(self, task: &Task, tools: &Tools, folder: &Path) -> Result<Kept, String> {
        match self.side {
            Side::Darkroom => own::keep(task, self.encoding, folder),
            Side::Peer(peer) => peer.keep(task, self.encoding, tools, folder),
        }
    }

    /// One round.
    pub(super) fn measure(
        self,
        task: &Task,
        tools: &Tools,
        cores: usize,
        time: Duration,
    ) -> Result<Rate, String> {
        match self.side {
            Side::Darkroom => {
                let presets = presets(&task.sizes, self.encoding.output())?;
                own::measure(&task.photos, &presets, cores, time)
            }
            Side::Peer(peer) => peer.measure(task, self.encoding, tools, cores, time),
        }
    }
}

/// Of a variant, with the ending of its format.
pub(super) fn wanted_name(variant: &str, encoding: Encoding) -> String {
    format!("{variant}.{}", encoding.output().format.extension())
}

/// Of the kept variant of a photo. The peers' scripts write the same.
pub(super) fn file_name(photo: usize, variant: &str, encoding: Encoding) -> String {
    format!("{photo}-{}", wanted_name(variant, encoding))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::task::tests::task_of_one_photo;

    #[test]
    fn every_side_has_its_rows() {
        for codec in [Codec::Jpeg, Codec::WebP] {
            let contenders = contenders(codec);
            let sides = [Peer::SharpExpert, Peer::SharpClone, Peer::Pyvips, Peer::Pillow].map(Side::Peer);
            for side in sides.into_iter().chain([Side::Darkroom]) {
                assert!(contenders.iter().any(|contender| contender.side == side), "{codec:?} {side:?}");
            }
            let mut names: Vec<String> = contenders.iter().map(|contender| contender.name()).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), contenders.len(), "each row differs from the side's others");
        }
    }

    #[test]
    fn darkroom_can_make_all_its_rows() {
        for codec in [Codec::Jpeg, Codec::WebP] {
            let rows = contenders(codec);
            for own in rows.iter().filter(|row| row.side == Side::Darkroom) {
                let presets = presets(&task_of_one_photo().sizes, own.encoding.output());
                assert_eq!(presets.map(|presets| presets.len()), Ok(5), "{}", own.name());
            }
        }
    }

    #[test]
    fn settings_name_the_versions_and_what_keeps_the_cores_busy() {
        let task = task_of_one_photo();
        for row in [contenders(Codec::Jpeg), contenders(Codec::WebP)].concat() {
            let settings = row.settings("library 1.2.3", &task, 2);
            assert!(settings.starts_with(&format!("{}, quality 80; ", row.encoding.label())), "{settings}");
            assert!(settings.ends_with("; library 1.2.3"), "{settings}");
            for part in ["lanczos", "4:2:0", "shrink-on-load"] {
                assert!(settings.to_lowercase().contains(part), "{part}: {settings}");
            }
        }
        let expert = contenders(Codec::Jpeg)[1].settings("", &task, 2);
        assert!(expert.contains("concurrency(1)") && expert.contains("4 photos in flight"), "{expert}");
        let own = contenders(Codec::WebP)[0].settings("", &task, 2);
        assert!(own.contains("sns 30") && own.contains("no shrink-on-load"), "{own}");
    }
}
