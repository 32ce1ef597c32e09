//! The photos that are measured when no folder is given.

use std::path::Path;

use darkroom_media::synth::{PhotoSpec, jpeg};

use crate::engine::{Orientation, SourceFormat};
use crate::folder::{Photo, read_photos};

/// The photos of a folder, or a few generated ones of the kinds that phones and editors write.
pub(crate) fn photos(folder: Option<&Path>) -> anyhow::Result<Vec<Photo>> {
    folder.map_or_else(|| Ok(few()), read_photos)
}

/// A landscape of 12 MP, a portrait of 12 MP that must be turned, and a progressive one of 2 MP.
fn few() -> Vec<Photo> {
    let landscape = PhotoSpec::default();
    let portrait = PhotoSpec { seed: 1, orientation: Orientation::Rotate90, ..landscape };
    let small = PhotoSpec { seed: 2, width: 1632, height: 1224, progressive: true, ..landscape };
    vec![
        generated("generated 12 MP landscape", &landscape),
        generated("generated 12 MP portrait, turned", &portrait),
        generated("generated 2 MP progressive", &small),
    ]
}

/// One photo that never was.
pub(crate) fn generated(name: &str, spec: &PhotoSpec) -> Photo {
    let pixels = u64::from(spec.width) * u64::from(spec.height);
    Photo { name: name.to_owned(), format: SourceFormat::Jpeg, pixels, bytes: jpeg(spec).into() }
}
