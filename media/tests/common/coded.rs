//! Pictures of RGB pixels in the codecs of HEIF, of every depth and chroma that is read.
#![allow(clippy::unwrap_used, reason = "in a test, what is missing should panic")]

use rav1e::prelude::{ChromaSampling, Config, EncoderConfig, Pixel, PixelRange};

use crate::heif::{Item, boxed, hevc_coded, ispe, nclx};

/// Luma, and the blue and red differences, of RGB pixels: full-range BT.601. Each sample of chroma is that of the first of
/// `step` pixels, across and down.
fn planes((width, height): (u32, u32), pixels: &[u8], step: (usize, usize)) -> [Vec<u8>; 3] {
    let plane = |weights: [f64; 3], zero: f64, step: (usize, usize)| {
        let places = (0..height as usize)
            .step_by(step.1)
            .flat_map(|y| (0..width as usize).step_by(step.0).map(move |x| y * width as usize + x));
        let sample = |at: usize| {
            let weighted = (0..3).map(|channel| weights[channel] * f64::from(pixels[at * 3 + channel]));
            (weighted.sum::<f64>() + zero).round() as u8
        };
        places.map(sample).collect()
    };
    [
        plane([0.299, 0.587, 0.114], 0.0, (1, 1)),
        plane([-0.168_736, -0.331_264, 0.5], 128.0, step),
        plane([0.5, -0.418_688, -0.081_312], 128.0, step),
    ]
}

/// An AV1 picture of RGB pixels, as an item: of 8, 10 or 12 bits, with any chroma or none.
pub(crate) fn av1(
    id: u16,
    (width, height): (u32, u32),
    pixels: &[u8],
    chroma: ChromaSampling,
    depth: u8,
) -> Item {
    let mut settings = EncoderConfig::with_speed_preset(10);
    (settings.width, settings.height) = (width as usize, height as usize);
    (settings.chroma_sampling, settings.bit_depth) = (chroma, depth.into());
    (settings.pixel_range, settings.still_picture) = (PixelRange::Full, true);
    (settings.min_key_frame_interval, settings.max_key_frame_interval) = (0, 0);
    settings.quantizer = 16;
    let (across, down) = chroma.get_decimation().unwrap_or_default();
    let [luma, blue, red] = planes((width, height), pixels, (1 << across, 1 << down));
    let mut samples = vec![luma];
    if chroma != ChromaSampling::Cs400 {
        samples.extend([blue, red]);
    }
    let data = match depth {
        8 => av1_data::<u8>(settings, &samples),
        _ => av1_data::<u16>(settings, &samples),
    };
    let properties = vec![ispe(width, height), av1_configuration(chroma, depth), nclx(1, 13, 6, true)];
    Item { id, kind: *b"av01", data, properties }
}

/// A frame whose samples have the highest bits that are given, in numbers that hold all of its bits.
fn av1_data<P: Pixel>(settings: EncoderConfig, planes: &[Vec<u8>]) -> Vec<u8> {
    let (across, _) = settings.chroma_sampling.get_decimation().unwrap_or_default();
    let widths = [settings.width, settings.width.div_ceil(1 << across)];
    let more_bits = settings.bit_depth - 8;
    let number_bytes = size_of::<P>();
    let config = Config::new().with_encoder_config(settings).with_threads(1);
    let mut context = config.new_context::<P>().unwrap();
    let mut frame = context.new_frame();
    for (index, (plane, samples)) in frame.planes.iter_mut().zip(planes).enumerate() {
        let numbers = samples.iter().map(|sample| (u16::from(*sample) << more_bits).to_le_bytes());
        let bytes: Vec<u8> = numbers.flat_map(|bytes| bytes.into_iter().take(number_bytes)).collect();
        plane.copy_from_raw_u8(&bytes, widths[index.min(1)] * number_bytes, number_bytes);
    }
    context.send_frame(frame).unwrap();
    context.flush();
    context.receive_packet().unwrap().data
}

/// `av1C` (AV1 Codec ISO Media File Format Binding, section 2.3.3).
fn av1_configuration(chroma: ChromaSampling, depth: u8) -> Vec<u8> {
    let profile = match chroma {
        _ if depth == 12 => 2,
        ChromaSampling::Cs422 => 2,
        ChromaSampling::Cs444 => 1,
        ChromaSampling::Cs420 | ChromaSampling::Cs400 => 0,
    };
    let of_depth = match depth {
        8 => 0,
        10 => 0b0100_0000,
        _ => 0b0110_0000,
    };
    let of_chroma = match chroma {
        ChromaSampling::Cs400 => 0b1_1100,
        ChromaSampling::Cs420 => 0b0_1100,
        ChromaSampling::Cs422 => 0b0_1000,
        ChromaSampling::Cs444 => 0,
    };
    boxed(*b"av1C", &[0x81, profile << 5, of_depth | of_chroma, 0])
}

/// A HEVC picture of RGB pixels, as an item: of 8 to 10 bits, with chroma at half its size.
pub(crate) fn hevc_of(id: u16, size: (u32, u32), pixels: &[u8], depth: u8) -> Item {
    let [luma, blue, red] = planes(size, pixels, (2, 2));
    hevc_coded(id, size, &luma, Some((&blue, &red)), depth)
}

/// The luma of RGB pixels alone.
pub(crate) fn hevc_gray(id: u16, size: (u32, u32), pixels: &[u8]) -> Item {
    let [luma, ..] = planes(size, pixels, (1, 1));
    hevc_coded(id, size, &luma, None, 8)
}
