//! `darkroom-bench peers`: the same work on the same photos with other libraries, each used as its expert would.
//!
//! `task` says what is done to which photos, and `side` who does it with which settings: `own` is darkroom, measured by its
//! `window`, and `peer` are the others, which `install` gets and whose scripts (`bench/peers/`) `child` runs. `results` compares
//! what they made with a reference, `report` adds up and prints, `machine` says on what.

mod child;
mod install;
mod machine;
mod own;
mod peer;
mod report;
mod results;
mod side;
mod task;
mod window;

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, thread};

use anyhow::{Context, bail};
use clap::Args;

use crate::folder::Photo;
use crate::likeness::Original;
use install::Tools;
use report::{Entry, Row};
use side::{Contender, KEPT_PHOTOS_MAX, contenders};
use task::{Plan, Task};

/// Whom to compare, on what, and for how long.
#[derive(Debug, Args)]
pub(crate) struct PeersArgs {
    /// A folder of photos, for the tasks `jpeg-ladder-photos` and `webp-ladder-photos`.
    #[arg(long)]
    photos: Option<PathBuf>,
    /// How often each side has its turn; the medians count.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How long a turn is measured at least, in seconds, after warming up: it ends with a whole pass over the photos.
    #[arg(long, default_value_t = 4.0, value_parser = seconds)]
    seconds: f64,
    /// Sizes of generated photos: 2, 12 and 24 megapixels.
    #[arg(long, value_delimiter = ',', default_values_t = [2, 12, 24], value_parser = megapixels)]
    megapixels: Vec<u32>,
    /// The tasks, separated by commas; all when none is named: `sharp-own` (2725 × 2225 to 720 × 588), and the ladders (2048,
    /// 1080, 640 and 320 inside, 150 × 150 cut) such as `jpeg-ladder-12mp`, `webp-ladder-2mp-progressive`,
    /// `jpeg-ladder-photos`.
    #[arg(long, value_delimiter = ',')]
    tasks: Vec<String>,
    /// Use what is installed, and never the network.
    #[arg(long)]
    skip_install: bool,
    /// Where the peers, the generated photos and the results are kept. Without it, `peers` in the workspace's target folder.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Also print the SSIM of each variant of each photo that is compared, on standard error.
    #[arg(long)]
    verbose: bool,
}

fn megapixels(text: &str) -> Result<u32, String> {
    let known = text.parse().ok().filter(|megapixels| task::size_of(*megapixels).is_some());
    known.ok_or_else(|| "it must be 2, 12 or 24".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    let known = text.parse().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    known.ok_or_else(|| "it must be from 0.1 to 3600".to_owned())
}

/// Installs, measures and prints. Sides that cannot take part are named on standard error; that no peer can is an error.
pub(crate) fn run(args: &PeersArgs) -> anyhow::Result<()> {
    let plans = task::selected(task::all(&args.megapixels, args.photos.is_some()), &args.tasks)?;
    let root = folder(args)?;
    fs::create_dir_all(&root).with_context(|| format!("cannot make the folder {}", root.display()))?;
    let tools = Tools::prepare(&root, args.skip_install);
    for sentence in tools.missing() {
        eprintln!("{sentence}");
    }
    if tools.is_empty() {
        bail!("there is no peer to compare with");
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let bench = Bench { args, root, tools, cores };
    bench.announce(&plans);
    let mut rows = Vec::new();
    for plan in &plans {
        rows.extend(bench.task(plan)?);
    }
    if rows.is_empty() {
        bail!("no side could do anything");
    }
    print(&rows, args, cores)?;
    if let Some(sentence) = report::shared_machine(&rows, cores) {
        eprintln!("{sentence}");
    }
    Ok(())
}

/// `--folder`, else `peers` in cargo's target folder: where CARGO_TARGET_DIR says, or in the workspace around the current
/// directory.
fn folder(args: &PeersArgs) -> anyhow::Result<PathBuf> {
    let folder = if let Some(folder) = &args.folder {
        folder.clone()
    } else if let Some(target) = env::var_os("CARGO_TARGET_DIR").filter(|target| !target.is_empty()) {
        Path::new(&target).join("peers")
    } else {
        let here = env::current_dir().context("cannot find the current directory")?;
        workspace(&here).unwrap_or(&here).join("target").join("peers")
    };
    // The scripts run in folders of their own.
    std::path::absolute(&folder).with_context(|| format!("cannot find {}", folder.display()))
}

/// The outermost folder with a Cargo.lock: that of a workspace lies beside its first Cargo.toml.
fn workspace(here: &Path) -> Option<&Path> {
    here.ancestors().filter(|folder| folder.join("Cargo.lock").is_file()).last()
}

/// What holds for all tasks.
struct Bench<'a> {
    args: &'a PeersArgs,
    root: PathBuf,
    tools: Tools,
    cores: usize,
}

impl Bench<'_> {
    /// Says where, and how long it will take, since it is long.
    fn announce(&self, plans: &[Plan]) {
        let rows: usize = plans.iter().map(|plan| contenders(plan.codec).len()).sum();
        // Starting, warming up, the rest of the last pass and the photos under way at the end are about two seconds a turn.
        let seconds = rows as f64 * f64::from(self.args.rounds) * (self.args.seconds + 2.0);
        eprintln!("{}", machine::machine(self.cores));
        eprintln!("tasks: {}, rows: {rows}, about {:.0} min", plans.len(), (seconds / 60.0).ceil());
    }

    /// All rows of a task: each side once for its files, then in turn, round after round.
    fn task(&self, plan: &Plan) -> anyhow::Result<Vec<Row>> {
        let task = plan
            .prepare(&self.root.join("photos"), self.args.photos.as_deref())
            .with_context(|| format!("the photos of the task {} cannot be had", plan.name))?;
        let mut entries = Vec::new();
        for contender in contenders(task.codec) {
            match self.first(&task, contender) {
                Ok(entry) => entries.push(entry),
                Err(error) => leave_out(&task, contender, &error),
            }
        }
        for photo in 0..task.photos.len().min(KEPT_PHOTOS_MAX) {
            self.compare(&task, photo, &mut entries);
        }
        for round in 0..self.args.rounds {
            eprintln!("{}: round {} of {}", task.name, round + 1, self.args.rounds);
            self.round(&task, round as usize, &mut entries);
        }
        let rows = entries.iter().filter_map(|entry| {
            let settings = entry.contender.settings(&entry.kept.versions, &task, self.cores);
            entry.row(&task.name, settings, self.args.rounds)
        });
        Ok(rows.collect())
    }

    /// Where a side's variants are kept.
    fn results(&self, task: &Task, contender: Contender) -> PathBuf {
        let name = contender.name().replace(',', "").replace(' ', "-");
        self.root.join("results").join(&task.name).join(name)
    }

    /// A side's files, and their bytes.
    fn first(&self, task: &Task, contender: Contender) -> Result<Entry, String> {
        let folder = self.results(task, contender);
        fs::create_dir_all(&folder)
            .map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
        let kept = contender.keep(task, &self.tools, &folder)?;
        Ok(Entry { contender, kept, ssim: Vec::new(), rounds: Vec::new() })
    }

    /// How good each side's variants of one photo are. A side that did something else is out.
    fn compare(&self, task: &Task, photo: usize, entries: &mut Vec<Entry>) {
        let Photo { name, bytes, .. } = &task.photos[photo];
        let mut original = match Original::decode(bytes) {
            Ok(original) => original,
            Err(error) => {
                eprintln!("{}: no SSIM of {name}, because {error:#}", task.name);
                return;
            }
        };
        entries.retain_mut(|entry| {
            let contender = entry.contender;
            let folder = self.results(task, contender);
            match results::compare(&mut original, task, contender, photo, &folder) {
                Ok(values) => {
                    if self.args.verbose {
                        let told = task.sizes.iter().zip(&values);
                        let told: Vec<String> =
                            told.map(|(size, value)| format!("{} {value:.4}", size.name)).collect();
                        eprintln!("{}: {}: {name}: SSIM {}", task.name, contender.name(), told.join(", "));
                    }
                    entry.ssim.extend(values);
                    true
                }
                Err(error) => {
                    leave_out(task, contender, &error);
                    false
                }
            }
        });
    }

    /// Each side in turn, another one first in each round. One that fails keeps what it has.
    fn round(&self, task: &Task, round: usize, entries: &mut [Entry]) {
        let time = Duration::from_secs_f64(self.args.seconds);
        let sides = entries.len();
        for turn in 0..sides {
            let entry = &mut entries[(round + turn) % sides];
            match entry.contender.measure(task, &self.tools, self.cores, time) {
                Ok(rate) => entry.rounds.push(rate),
                Err(error) => {
                    eprintln!("{}: {} failed in this round: {error}", task.name, entry.contender.name());
                }
            }
        }
    }
}

fn leave_out(task: &Task, contender: Contender, why: &str) {
    eprintln!("{}: {}: left out, because {why}", task.name, contender.name());
}

#[expect(clippy::print_stdout, reason = "the figures are this program's output")]
fn print(rows: &[Row], args: &PeersArgs, cores: usize) -> anyhow::Result<()> {
    if args.json {
        println!("{}", serde_json::to_string_pretty(rows)?);
        return Ok(());
    }
    println!("{}", report::as_table(rows));
    for sentence in report::unlike(rows) {
        println!("{sentence}");
    }
    let (machine, rounds, seconds) = (machine::machine(cores), args.rounds, args.seconds);
    println!(
        "\nOn {machine}.\nMedians of {rounds} rounds of at least {seconds} s, which end with a whole pass over the photos; the sides in \
         turn, another one first in each round.{FOOTNOTE}"
    );
    Ok(())
}

/// What holds for every table.
const FOOTNOTE: &str = "
Each side has enough photos at once to keep the cores busy. sharp-clone leaves libuv at its 4 threads, whatever the cores.
Generated photos are JPEGs of quality 92, 4:2:0, without a profile; the progressive ones have no refinement scans, with which \
those of cameras and editors take longer to decode. Files come from memory and are encoded to memory. Photos with a profile \
are converted to sRGB by every side.
WebP: darkroom tunes libwebp (simple filter, strength 100, sns 30, quality 80.65); the others have libwebp's defaults (strong \
filter, strength 60, sns 50, quality 80).
darkroom allocates with mimalloc, the others with the system's allocator.
CPU: user and system time, as each side reports its own: darkroom's threads by their clocks, node's process and every lane of \
Python with its threads by getrusage.
Bytes: all variants of a photo together, the mean of all photos. SSIM: the mean of the variants of up to 4 photos, against \
Lanczos3 in floating point from the fully decoded photo; none of photos with a profile.
\"opt\": Huffman tables computed for each file. \"of darkroom\": photos/s, divided by darkroom's with the same label.";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: PeersArgs,
    }

    fn parse(options: &[&str]) -> Result<PeersArgs, String> {
        let line = std::iter::once("peers").chain(options.iter().copied());
        Line::try_parse_from(line).map(|line| line.args).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_read_and_bounded() {
        let args = parse(&[]).unwrap();
        assert_eq!((args.rounds, args.seconds), (5, 4.0));
        assert_eq!(args.megapixels, [2, 12, 24]);
        let args =
            parse(&["--megapixels", "2,24", "--tasks", "sharp-own,jpeg-ladder-2mp", "--seconds", "0.5"]);
        let args = args.unwrap();
        assert_eq!(args.megapixels, [2, 24]);
        assert_eq!(args.tasks, ["sharp-own", "jpeg-ladder-2mp"]);
        assert!(parse(&["--megapixels", "3"]).unwrap_err().contains("it must be 2, 12 or 24"));
        assert!(parse(&["--seconds", "NaN"]).unwrap_err().contains("it must be from 0.1 to 3600"));
        assert!(parse(&["--rounds", "0"]).is_err());
    }

    #[test]
    fn the_workspace_is_found_from_below() {
        let root = tempfile::tempdir().unwrap();
        let crate_folder = root.path().join("bench").join("src");
        fs::create_dir_all(&crate_folder).unwrap();
        fs::write(root.path().join("Cargo.lock"), "").unwrap();
        assert_eq!(workspace(&crate_folder), Some(root.path()));
        let chosen = PeersArgs { folder: Some(root.path().join("x")), ..parse(&[]).unwrap() };
        assert_eq!(folder(&chosen).unwrap(), root.path().join("x"));
    }
}
