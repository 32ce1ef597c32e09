//! Files among the seeds that tell place, owner and serial numbers wherever their containers can.

use super::exif_blocks::{Block, forward};
use super::heif::{HeifFile, Item, avif as avif_of, grid};
use super::private_files::{big_tiff, heif, tiff, with_film};
use super::seeds::samples;
use super::targets::Seed;

const SIZE: (u32, u32) = (16, 16);

pub(crate) fn private() -> Vec<Seed> {
    let picture = avif_of(1, SIZE, &samples(16 * 16 * 3), 8).1;
    let tiles = (1..=4).map(|id| Item { id, ..picture.clone() }).collect();
    let of_heif = |file: HeifFile| with_film(&heif(file));
    vec![
        ("private-tiff-backward", tiff(true, Block::build)),
        ("private-tiff-forward", tiff(false, forward)),
        ("private-tiff-big", big_tiff(false)),
        ("private-tiff-big-big-endian", big_tiff(true)),
        ("private-avif", of_heif(HeifFile::of(*b"avif", picture))),
        ("private-avif-grid", of_heif(grid(*b"avif", 2, (30, 27), tiles))),
        #[cfg(feature = "heic")]
        ("private-heic", of_heif(HeifFile::of(*b"heic", super::heif::hevc(1, SIZE, [90, 120, 150])))),
        #[cfg(feature = "jxl")]
        ("private-jxl", super::private_files::jxl(&codestream())),
    ]
}

#[cfg(feature = "jxl")]
fn codestream() -> Vec<u8> {
    use zune_core::{bit_depth::BitDepth, colorspace::ColorSpace};
    super::jxl_files::encoded(SIZE, ColorSpace::RGB, BitDepth::Eight, &samples(16 * 16 * 3))
}
