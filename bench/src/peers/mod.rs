//! `darkroom-bench peers`: the same work on the same photos with other libraries, each used as its expert would.
//!
//! `task` says what is done to which photos, `side` who does it with which settings, `install` gets the peers, `child` runs
//! their scripts (`bench/peers/`) and `own` darkroom, `likeness` compares the results with a reference, `report` adds up and
//! prints.

mod child;
mod install;
mod likeness;
mod own;
mod report;
mod side;
mod task;

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, thread};

use anyhow::{Context, bail};
use clap::Args;

use install::Tools;
use likeness::Original;
use report::{Entry, Row};
use side::{Contender, contenders};
use task::{Plan, Task};

/// Photos that the bytes of a row are the mean of, at most.
const KEPT_PHOTOS_MAX: usize = 16;

/// Whom to compare, on what, and for how long.
#[derive(Debug, Args)]
pub(crate) struct PeersArgs {
    /// A folder of photos, for the tasks `jpeg-ladder-photos` and `webp-ladder-photos`.
    #[arg(long)]
    photos: Option<PathBuf>,
    /// How often each side has its turn; the medians count.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How long a turn is measured, in seconds, after warming up.
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
    /// Also print the SSIM of each variant, on standard error.
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
    /// Says how long it will take, since it is long.
    fn announce(&self, plans: &[Plan]) {
        let rows: usize = plans.iter().map(|plan| contenders(plan.format).len()).sum();
        // Starting, warming up and the photos under way at the end are about two seconds a turn.
        let seconds = rows as f64 * f64::from(self.args.rounds) * (self.args.seconds + 2.0);
        eprintln!("tasks: {}, rows: {rows}, about {:.0} min", plans.len(), (seconds / 60.0).ceil());
    }

    /// All rows of a task: each side once for its files, then in turn, round after round.
    fn task(&self, plan: &Plan) -> anyhow::Result<Vec<Row>> {
        let task = plan
            .prepare(&self.root.join("photos"), self.args.photos.as_deref())
            .with_context(|| format!("the photos of the task {} cannot be had", plan.name))?;
        let mut original = Original::of(&task)
            .inspect_err(|error| eprintln!("{}: no SSIM, because of {error}", task.name))
            .ok();
        let mut entries = Vec::new();
        for contender in contenders(task.format) {
            match self.first(&task, contender, original.as_mut()) {
                Ok(entry) => entries.push(entry),
                Err(error) => leave_out(&task, contender, &error),
            }
        }
        drop(original);
        for round in 0..self.args.rounds {
            eprintln!("{}: round {} of {}", task.name, round + 1, self.args.rounds);
            self.round(&task, &mut entries);
        }
        let rows = entries.iter().filter_map(|entry| {
            let settings = entry.contender.settings(&entry.kept.versions, &task, self.cores);
            entry.row(&task.name, settings)
        });
        Ok(rows.collect())
    }

    /// A side's files: their bytes, and how good they are.
    fn first(
        &self,
        task: &Task,
        contender: Contender,
        original: Option<&mut Original>,
    ) -> Result<Entry, String> {
        let label = format!("{} {}", contender.side.name(), contender.label()).replace(' ', "-");
        let folder = self.root.join("results").join(&task.name).join(label);
        fs::create_dir_all(&folder)
            .map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
        let kept = contender.keep(task, &self.tools, &folder)?;
        let ssim = original
            .map(|original| original.compare(task, contender, &folder))
            .transpose()?
            .unwrap_or_default();
        if self.args.verbose {
            let values = task.sizes.iter().zip(&ssim);
            let values: Vec<String> =
                values.map(|(size, value)| format!("{} {value:.4}", size.name)).collect();
            let (side, label) = (contender.side.name(), contender.label());
            eprintln!("{}: {side}, {label}: SSIM {}", task.name, values.join(", "));
        }
        Ok(Entry { contender, kept, ssim, rounds: Vec::new() })
    }

    /// Each side in turn. One that fails is out.
    fn round(&self, task: &Task, entries: &mut Vec<Entry>) {
        let time = Duration::from_secs_f64(self.args.seconds);
        entries.retain_mut(|entry| match entry.contender.measure(task, &self.tools, self.cores, time) {
            Ok(rate) => {
                entry.rounds.push(rate);
                true
            }
            Err(error) => {
                leave_out(task, entry.contender, &error);
                false
            }
        });
    }
}

fn leave_out(task: &Task, contender: Contender, why: &str) {
    eprintln!("{}: {}, {}: left out, because {why}", task.name, contender.side.name(), contender.label());
}

#[expect(clippy::print_stdout, reason = "the figures are this program's output")]
fn print(rows: &[Row], args: &PeersArgs, cores: usize) -> anyhow::Result<()> {
    if args.json {
        println!("{}", serde_json::to_string_pretty(rows)?);
        return Ok(());
    }
    print!("{}", report::as_table(rows));
    println!(
        "\nMedians of {} rounds of {} s, the sides in turn, on {cores} cores, which each side keeps busy.\n\
         Generated photos are JPEGs of quality 92, 4:2:0. All files are encoded to memory.\n\
         CPU: user and system time, as each side reports its own: darkroom's threads by their clocks, \
         node's process and every lane of Python with its threads by getrusage.\n\
         SSIM: of the first photo's variants, against Lanczos3 in floating point from the fully decoded photo; their mean.\n\
         \"opt\": Huffman tables computed for each file. \"of darkroom\": photos/s, divided by darkroom's with like settings.",
        args.rounds, args.seconds,
    );
    Ok(())
}

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
