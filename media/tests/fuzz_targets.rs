//! The fuzz targets without a fuzzer: over their seeds, over those cut anywhere, over some thousand changes that are the
//! same each time, and over whatever was found before. `media/fuzz` looks for more.

mod fuzz;

use fuzz::mutate::{Sequence, changed, mutated};
use fuzz::targets::{Reached, TARGETS, Target, target};

/// Inputs made of the seeds of each target.
const CHANGED: usize = 2000;

/// Lengths to which a seed is cut: every one of a small seed, and so many of a larger one.
const CUTS: usize = 300;

/// Runs a target, and keeps the input if it panics.
fn run(target: &Target, input: &[u8]) -> Reached {
    struct Kept<'a>(&'a str, &'a [u8]);
    impl Drop for Kept<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let path = format!("{}/{}-crash", env!("CARGO_TARGET_TMPDIR"), self.0);
                let outcome = std::fs::write(&path, self.1);
                eprintln!("the input is in {path}: {outcome:?}");
            }
        }
    }
    let _kept = Kept(target.name, input);
    target.run(input)
}

/// Seeds whole, cut and changed. At least half of those changed get past the header.
fn exercise(target: &Target) {
    let seeds = (target.seeds)();
    for (name, input) in &seeds {
        assert!(target.passes(input), "{}: {name} is refused", target.name);
        assert_eq!(run(target, input), Reached::End, "{}: {name}", target.name);
        for length in (0..input.len()).step_by(input.len().div_ceil(CUTS)) {
            run(target, &input[..length]);
        }
    }
    let mut random = Sequence(1);
    let mut past_header = 0;
    for number in 0..CHANGED {
        let seed = &seeds[number % seeds.len()].1;
        let input =
            mutated(target, &seeds, seed, &mut random, &mut |input, random| changed(input, &seeds, random));
        past_header += usize::from(run(target, &input) > Reached::Nothing);
    }
    assert!(past_header * 2 >= CHANGED, "{}: only {past_header} of {CHANGED} got past", target.name);
}

macro_rules! exercised {
    ($($(#[$condition:meta])* $name:ident),* $(,)?) => {
        /// A test for each target, so that they run beside each other.
        const EXERCISED: &[&str] = &[$($(#[$condition])* stringify!($name)),*];
        $($(#[$condition])*
        #[test]
        fn $name() {
            exercise(target(stringify!($name)).unwrap());
        })*
    };
}

exercised![
    probe,
    jpeg,
    png,
    webp,
    gif,
    bmp,
    tiff,
    avif,
    #[cfg(feature = "heic")]
    heic,
    #[cfg(feature = "jxl")]
    jxl,
    render,
    private,
    metadata,
    profile,
];

/// Targets that other features of the crate would bring.
const NOT_BUILT: &[&str] = &[
    #[cfg(not(feature = "heic"))]
    "heic",
    #[cfg(not(feature = "jxl"))]
    "jxl",
];

#[test]
fn every_target_is_exercised() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(EXERCISED, names);
}

/// Bytes too many or too few in a box break all sizes around it, and in the pixels the place of what lies last.
#[test]
fn boxes_are_put_right_around_what_was_added_or_lost() {
    let target = target("avif").unwrap();
    for (name, file) in (target.seeds)() {
        for kind in [b"hdlr", b"mdat"] {
            let at = memchr::memmem::find(&file, kind).unwrap() + 10;
            let longer = [&file[..at], b"new", &file[at..]].concat();
            let shorter = [&file[..at], &file[at + 3..]].concat();
            for mut broken in [longer, shorter] {
                assert!(kind == b"mdat" || !target.passes(&broken), "{name} needs no repair");
                target.repair(&mut broken);
                assert!(target.passes(&broken), "{name} is not repaired");
            }
        }
    }
}

/// Files of `tests/regressions` are inputs that once crashed a target: the one that their names begin with, up to `-`.
#[test]
fn what_crashed_once_does_not_again() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/regressions");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let of = name.split('-').next().unwrap();
        if name == "README.md" || NOT_BUILT.contains(&of) {
            continue;
        }
        let target = target(of).unwrap_or_else(|| panic!("{name}: no such target"));
        run(target, &std::fs::read(&path).unwrap());
    }
}
