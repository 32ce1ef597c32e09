//! AVIFs and HEICs among the seeds: pictures of either codec in the same containers.

use super::exif_blocks::camera;
use super::heif::{
    HeifFile, Item, avif as avif_of, boxed, clap, full, grid, imir, irot, ispe, nclx, profile, says_alpha,
};
use super::seeds::samples;
use super::targets::Seed;

const SIDE: u32 = 16;
const PIXELS: usize = 16 * 16;

pub(crate) fn avif() -> Vec<Seed> {
    let size = (SIDE, SIDE);
    let flat = |id: u16| avif_of(id, size, &[60 * id as u8, 120, 30].repeat(PIXELS), 8).1;
    let (file, picture) = avif_of(1, size, &samples(PIXELS * 3), 8);
    let mut seeds = contained(*b"avif", &picture, flat);
    seeds.extend([
        ("of-an-encoder", file),
        ("10-bits", avif_of(1, (17, 9), &samples(17 * 9 * 3), 10).0),
        ("several-blocks", avif_of(1, (48, 40), &[70, 80, 90].repeat(48 * 40), 8).0),
    ]);
    seeds.extend(with_opacity_of_an_encoder());
    seeds
}

/// What an encoder makes of RGBA, and the opacity in it as a picture of its own: the one way to a gray AV1 picture.
fn with_opacity_of_an_encoder() -> [Seed; 2] {
    let values = samples(PIXELS * 4);
    let pixels: Vec<ravif::RGBA8> =
        values.as_chunks::<4>().0.iter().map(|[r, g, b, a]| ravif::RGBA8::new(*r, *g, *b, *a)).collect();
    let encoder = ravif::Encoder::new().with_speed(10).with_bit_depth(ravif::BitDepth::Eight);
    let encoder = encoder.with_num_threads(Some(1));
    let encoded = encoder.encode_rgba(ravif::Img::new(pixels.as_slice(), 16, 16)).unwrap();
    let file = encoded.avif_file;
    // Opacity and colours, in this order, are the last things in the file.
    let end = file.len() - encoded.color_byte_size;
    let data = file[end - encoded.alpha_byte_size..end].to_vec();
    // Profile 0, 8 bits, monochrome.
    let configuration = boxed(*b"av1C", &[0x81, 0x00, 0x1C, 0]);
    let properties = vec![ispe(SIDE, SIDE), configuration, nclx(1, 13, 6, true)];
    let gray = HeifFile::of(*b"avif", Item { id: 1, kind: *b"av01", data, properties });
    [("alpha-of-an-encoder", file), ("gray", gray.bytes())]
}

#[cfg(feature = "heic")]
pub(crate) fn heic() -> Vec<Seed> {
    use super::heif::{hevc, hevc_coded, hevc_planes};
    let size = (SIDE, SIDE);
    let alone = |item: Item| HeifFile::of(*b"heic", item).bytes();
    let (luma, chroma) = (samples(PIXELS), samples(PIXELS / 2));
    let (blue, red) = chroma.split_at(PIXELS / 4);
    let picture = hevc_planes(1, size, &luma, blue, red);
    let mut seeds = contained(*b"heic", &picture, |id| hevc(id, size, [60 * id as u8, 120, 150]));
    seeds.extend([
        ("gray", alone(hevc_coded(1, size, &luma, None, 8))),
        ("10-bits", alone(hevc_coded(1, size, &luma, Some((blue, red)), 10))),
        ("several-blocks", alone(hevc(1, (66, 18), [90, 120, 150]))),
        ("plain", alone(picture)),
    ]);
    seeds
}

/// All that a container can say of a picture, which has three properties, the third its colours. `flat` makes others of
/// its size.
fn contained(brand: [u8; 4], picture: &Item, flat: impl Fn(u16) -> Item) -> Vec<Seed> {
    let file = HeifFile::of(brand, picture.clone());
    let colored = |colors: &[Vec<u8>]| {
        let mut other = file.clone();
        other.items[0].properties.truncate(2);
        other.items[0].properties.extend_from_slice(colors);
        other.bytes()
    };
    let p3 = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    vec![
        ("turned", file.with(&[irot(1), imir(1)])),
        ("cut-and-turned", file.with(&[clap(10, 6, -2, 2), irot(3)])),
        ("code-points", colored(&[nclx(12, 16, 1, false)])),
        ("no-colors", colored(&[])),
        ("profile", colored(&[profile(&p3), nclx(1, 13, 6, true)])),
        // Of the last row and column not all is seen.
        ("grid", grid(brand, 2, (30, 27), (1..=4).map(&flat).collect()).bytes()),
        ("alpha", with_alpha(&file, flat(2))),
        ("exif", with_exif(&file)),
        ("sequence", [file.bytes(), track(3)].concat()),
    ]
}

/// With opacity, by which the colours are multiplied already.
fn with_alpha(file: &HeifFile, mut opacity: Item) -> Vec<u8> {
    opacity.properties.push(says_alpha());
    let mut file = file.clone();
    file.references = vec![(*b"auxl", opacity.id, vec![1]), (*b"prem", 1, vec![opacity.id])];
    file.items.push(opacity);
    file.bytes()
}

fn with_exif(file: &HeifFile) -> Vec<u8> {
    let data = [b"\0\0\0\x06Exif\0\0".as_slice(), &camera(true).build()].concat();
    let mut file = file.clone();
    file.items.push(Item { id: 9, kind: *b"Exif", data, properties: Vec::new() });
    file.references.push((*b"cdsc", 9, vec![1]));
    file.bytes()
}

/// A sequence of so many frames beside the picture.
fn track(frames: u32) -> Vec<u8> {
    let sizes = full(*b"stsz", 0, &[[0; 4], frames.to_be_bytes()].concat());
    [b"stbl", b"minf", b"mdia", b"trak", b"moov"].into_iter().fold(sizes, |inner, kind| boxed(*kind, &inner))
}
