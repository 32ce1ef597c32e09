//! `darkroom-bench photos`: generated photos as files.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use darkroom_media::Orientation;
use darkroom_media::synth::{PhotoSpec, jpeg};

/// What to write, and where.
#[derive(Debug, Args)]
pub(crate) struct PhotosArgs {
    /// The folder to write to; made if it is missing.
    #[arg(long)]
    out: PathBuf,
    /// How many photos, each different from the others.
    #[arg(long, default_value_t = 8)]
    count: u64,
    /// Pixels per row.
    #[arg(long, default_value_t = 4032, value_parser = clap::value_parser!(u32).range(1..=65_535))]
    width: u32,
    /// Rows.
    #[arg(long, default_value_t = 3024, value_parser = clap::value_parser!(u32).range(1..=65_535))]
    height: u32,
    /// JPEG quality.
    #[arg(long, default_value_t = 92, value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: u8,
    /// Write progressive JPEGs.
    #[arg(long)]
    progressive: bool,
    /// EXIF orientation, 1 to 8.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=8))]
    orientation: u16,
    /// Seed of the first photo; the others follow.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Writes the photos and says how much was written.
pub(crate) fn run(args: &PhotosArgs) -> anyhow::Result<()> {
    let folder = args.out.display();
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make the folder {folder}"))?;
    let mut bytes = 0;
    for seed in args.seed..args.seed.saturating_add(args.count) {
        let spec = PhotoSpec {
            seed,
            width: args.width,
            height: args.height,
            quality: args.quality,
            progressive: args.progressive,
            orientation: Orientation::from_exif(args.orientation).unwrap_or_default(),
        };
        let photo = jpeg(&spec);
        let path = args.out.join(format!("photo-{seed:06}.jpg"));
        std::fs::write(&path, &photo).with_context(|| format!("cannot write {}", path.display()))?;
        bytes += photo.len() as u64;
    }
    eprintln!("{} photos, {:.1} MB, in {folder}", args.count, bytes as f64 / 1e6);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::read_photos;

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let args = PhotosArgs {
            out: folder.path().join("new"),
            count: 3,
            width: 64,
            height: 48,
            quality: 80,
            progressive: true,
            orientation: 6,
            seed: 7,
        };
        run(&args).unwrap();
        let photos = read_photos(&args.out).unwrap();
        assert_eq!(photos.len(), 3);
        assert!(photos.iter().all(|photo| photo.pixels == 64 * 48));
        assert!(photos[0].name.ends_with("photo-000007.jpg"));
    }
}
