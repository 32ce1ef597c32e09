//! What libFuzzer needs around the targets of `media/tests/fuzz`: each is a binary of one line, [`target!`].

#[path = "../../tests/fuzz/mod.rs"]
mod fuzz;
mod panics;
mod running;

pub use libfuzzer_sys;
pub use panics::watch;
pub use running::Running;

/// Writes the seeds of every target into a folder of its name below `folder`.
pub fn write_seeds(folder: &std::path::Path) -> std::io::Result<()> {
    for target in fuzz::targets::TARGETS {
        let folder = folder.join(target.name);
        std::fs::create_dir_all(&folder)?;
        for (name, bytes) in (target.seeds)() {
            std::fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}

/// The fuzz target of a name.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        static RUNNING: std::sync::LazyLock<$crate::Running> =
            std::sync::LazyLock::new(|| $crate::Running::new($name));

        $crate::libfuzzer_sys::fuzz_target!(
            init: {
                // Before the first input: what makes the seeds is not what is tested, and does not count as covered.
                std::sync::LazyLock::force(&RUNNING);
                $crate::watch();
            },
            |input: &[u8]| RUNNING.run(input)
        );

        $crate::libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            RUNNING.mutate(data, size, max_size, seed)
        });
    };
}
