//! Writes the seeds: `seeds <folder>`.

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).unwrap_or_else(|| "seeds".into());
    darkroom_media_fuzz::write_seeds(folder.as_ref())
}
