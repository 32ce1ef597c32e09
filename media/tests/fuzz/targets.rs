//! The targets. A format that is decoded has one line among [`TARGETS`], and seeds.

use darkroom_media::{
    Limits, MediaError, Orientation, Preset, Probe, Prober, Scratch, SourceFormat, decode, probe,
    without_private,
};

use super::{mutate, render, seeds, wrapped};

/// How far an input came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reached {
    /// It was refused by its header.
    Nothing,
    /// Decoding was begun, or what stands for it in the target.
    PastHeader,
    /// All went well.
    End,
}

/// A file that decodes, with what stands before it in the inputs of its target, and a name of `[a-z0-9-]`.
pub(crate) type Seed = (&'static str, Vec<u8>);

#[derive(Debug, Clone, Copy)]
enum Body {
    Probe,
    Decoder(SourceFormat),
    Render,
    Private,
    Metadata,
    Profile,
}

/// A way to use the crate on bytes of strangers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    body: Body,
    /// What inputs begin with before the file: bytes that choose how it is treated.
    pub(crate) settings_bytes: usize,
    pub(crate) seeds: fn() -> Vec<Seed>,
}

const fn decoder(name: &'static str, format: SourceFormat, seeds: fn() -> Vec<Seed>) -> Target {
    Target { name, body: Body::Decoder(format), settings_bytes: 0, seeds }
}

pub(crate) const TARGETS: &[Target] = &[
    Target { name: "probe", body: Body::Probe, settings_bytes: 1, seeds: seeds::for_probe },
    decoder("jpeg", SourceFormat::Jpeg, seeds::jpeg),
    decoder("png", SourceFormat::Png, seeds::png),
    decoder("webp", SourceFormat::WebP, seeds::webp),
    decoder("gif", SourceFormat::Gif, seeds::gif),
    decoder("bmp", SourceFormat::Bmp, seeds::bmp),
    decoder("tiff", SourceFormat::Tiff, seeds::tiff),
    decoder("avif", SourceFormat::Avif, seeds::avif),
    #[cfg(feature = "heic")]
    decoder("heic", SourceFormat::Heic, seeds::heic),
    #[cfg(feature = "jxl")]
    decoder("jxl", SourceFormat::Jxl, seeds::jxl),
    Target {
        name: "render",
        body: Body::Render,
        settings_bytes: render::SETTINGS_BYTES,
        seeds: seeds::for_render,
    },
    Target { name: "private", body: Body::Private, settings_bytes: 0, seeds: seeds::for_private },
    Target { name: "metadata", body: Body::Metadata, settings_bytes: 1, seeds: seeds::exif },
    Target { name: "profile", body: Body::Profile, settings_bytes: 1, seeds: seeds::profiles },
];

/// The target of a name.
pub(crate) fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

impl Target {
    /// Does with the input what the target is for. Panics if something does not hold.
    pub(crate) fn run(&self, input: &[u8]) -> Reached {
        let (settings, file) = input.split_at(self.settings_bytes.min(input.len()));
        match self.body {
            _ if settings.len() < self.settings_bytes => Reached::Nothing,
            Body::Probe => in_pieces(settings[0], file),
            Body::Decoder(format) => decoded(format, file),
            Body::Render => render::rendered(settings, file),
            Body::Private => made_public(file),
            Body::Metadata => wrapped::metadata(settings[0], file),
            Body::Profile => wrapped::profile(settings[0], file),
        }
    }

    /// Whether the input will get past the header.
    pub(crate) fn passes(&self, input: &[u8]) -> bool {
        let Some(file) = input.get(self.settings_bytes..) else { return false };
        match self.body {
            Body::Decoder(format) => probe(file, &limits()).is_ok_and(|found| found.format == format),
            Body::Probe | Body::Private => probe(file, &limits()).is_ok(),
            Body::Render => probe(file, &render::limits()).is_ok(),
            Body::Metadata => wrapped::is_told(file),
            Body::Profile => wrapped::is_profile(file),
        }
    }

    /// Makes an input as whole as its target needs it, where sums and lengths are all that is wrong.
    pub(crate) fn repair(&self, input: &mut [u8]) {
        if let Some(file) = input.get_mut(self.settings_bytes..) {
            mutate::repair(file);
        }
    }
}

/// So little that an input takes milliseconds at most; sides as wide as a JPEG can express.
pub(crate) fn limits() -> Limits {
    Limits {
        pixels_max: 1 << 16,
        metadata_bytes_max: 64 << 10,
        scans_max: 20,
        icc_bytes_max: 64 << 10,
        frames_max: 8,
        animation_pixels_max: 1 << 18,
        seconds_max: 5,
        ..Limits::default()
    }
}

/// The probe finds the same in pieces of any size as in one, and nothing that contradicts itself.
fn in_pieces(cut: u8, file: &[u8]) -> Reached {
    let limits = limits();
    let whole = probe(file, &limits);
    let mut prober = Prober::new(limits.clone());
    let fed = file.chunks(usize::from(cut) + 1).try_for_each(|piece| prober.feed(piece));
    assert_eq!(fed.and_then(|()| prober.finish()), whole, "in pieces of {} bytes", usize::from(cut) + 1);
    let Ok(found) = whole else { return Reached::Nothing };
    assert!(found.width >= 1 && found.height >= 1 && found.pixels() <= limits.pixels_max, "{found:?}");
    assert!(found.bytes == file.len() as u64 && found.image_bytes <= found.bytes, "{found:?}");
    assert!(found.frames >= 1 && found.components >= 1 && found.bit_depth >= 1, "{found:?}");
    assert!(!found.truncated || found.format == SourceFormat::Jpeg, "{found:?}");
    let cost = found.cost(&Preset::default_ladder(), &limits);
    assert!(cost.peak_bytes > found.pixels(), "{cost:?} of {found:?}");
    Reached::End
}

/// What the probe lets through is decoded or refused, and never held in more memory than was said before.
fn decoded(format: SourceFormat, file: &[u8]) -> Reached {
    let limits = limits();
    let Ok(found) = probe(file, &limits) else { return Reached::Nothing };
    if found.format != format {
        return Reached::Nothing;
    }
    match decode(file, &found, &limits, &mut Scratch::default()) {
        Ok(photo) => {
            let peak = found.cost(&[], &limits).peak_bytes;
            assert!(photo.bytes() <= peak, "{} bytes where {peak} were said: {found:?}", photo.bytes());
            assert!(!found.truncated || photo.damage().is_some(), "nothing is said of what is missing");
            Reached::End
        }
        Err(error) => {
            assert!(!matches!(error, MediaError::Encode { .. } | MediaError::Empty), "{error}");
            Reached::PastHeader
        }
    }
}

/// A file without what is private is the same picture, not longer, and has nothing private left.
fn made_public(file: &[u8]) -> Reached {
    let limits = limits();
    let mut prober = Prober::new(limits.clone());
    // What the probe refuses may still be asked for: an original that was accepted under other limits.
    let fed = prober.feed(file);
    let Some(format) = prober.format() else { return Reached::Nothing };
    let public = without_private(file, format);
    let found = fed.and_then(|()| prober.finish());
    let (Ok(public), Ok(found)) = (&public, &found) else {
        return if found.is_ok() { Reached::PastHeader } else { Reached::Nothing };
    };
    // A GIF that lacks its last byte is given one, and so is a WebP whose last chunk is odd and not padded.
    let added = usize::from(matches!(format, SourceFormat::Gif | SourceFormat::WebP));
    assert!(public.len() <= file.len() + added, "{} bytes became {}", file.len(), public.len());
    let again = without_private(public, format);
    assert_eq!(again.as_ref(), Ok(public), "once more changes something");
    // A limit on metadata may be met before, and not after; nothing else may change.
    let after = probe(public, &limits);
    let after = after.unwrap_or_else(|error| panic!("it is no photo any more: {error}; before: {found:?}"));
    assert_eq!(shown(&after), shown(found), "another picture");
    Reached::End
}

/// What must be the same of two files that show the same picture.
fn shown(probe: &Probe) -> (SourceFormat, (u32, u32), Orientation, u32, bool) {
    (probe.format, (probe.width, probe.height), probe.orientation, probe.frames, probe.truncated)
}
