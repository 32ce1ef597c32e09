//! What is done to which photos.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use anyhow::{Context, bail};
use darkroom_media::synth::{PhotoSpec, jpeg};

use crate::engine::{Fit, Size};
use crate::folder::{Photo, read_photos};

/// Megapixels of generated photos at most, so that none stays in a cache and yet all fit into memory.
const GENERATED_MEGAPIXELS: u32 = 96;
/// Photos of a task at most: every turn makes whole passes over them.
const PHOTOS_MAX: usize = 16;

/// What the variants of a task are encoded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Jpeg,
    WebP,
}

impl Codec {
    const fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::WebP => "webp",
        }
    }
}

/// A task with its photos in memory and on disk: a photo's name is the path that the peers read.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) name: String,
    pub(super) codec: Codec,
    /// Largest first.
    pub(super) sizes: Vec<Size>,
    pub(super) photos: Vec<Photo>,
}

/// A task whose photos were not made yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) codec: Codec,
    single: bool,
    source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Generated { width: u32, height: u32, progressive: bool },
    Folder,
}

/// Width and height of the generated photos.
pub(super) const fn size_of(megapixels: u32) -> Option<(u32, u32)> {
    match megapixels {
        2 => Some((1632, 1224)),
        12 => Some((4032, 3024)),
        24 => Some((6000, 4000)),
        _ => None,
    }
}

/// Every task that there is: sharp's own, ladders from photos of each size, and, where a folder is given, from its photos.
pub(super) fn all(megapixels: &[u32], folder: bool) -> Vec<Plan> {
    let own = Source::Generated { width: 2725, height: 2225, progressive: false };
    let mut plans =
        vec![Plan { name: "sharp-own".to_owned(), codec: Codec::Jpeg, single: true, source: own }];
    for codec in [Codec::Jpeg, Codec::WebP] {
        let ladder = |rest: &str, source| {
            let name = format!("{}-ladder-{rest}", codec.name());
            Plan { name, codec, single: false, source }
        };
        for megapixels in megapixels {
            let Some((width, height)) = size_of(*megapixels) else { continue };
            let source = |progressive| Source::Generated { width, height, progressive };
            plans.push(ladder(&format!("{megapixels}mp"), source(false)));
            plans.push(ladder(&format!("{megapixels}mp-progressive"), source(true)));
        }
        if folder {
            plans.push(ladder("photos", Source::Folder));
        }
    }
    plans
}

/// The tasks that were asked for, by name; all when none was.
pub(super) fn selected(plans: Vec<Plan>, names: &[String]) -> anyhow::Result<Vec<Plan>> {
    if let Some(unknown) = names.iter().find(|name| plans.iter().all(|plan| plan.name != **name)) {
        let known: Vec<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
        bail!("there is no task `{unknown}` with these options; there are {}", known.join(", "));
    }
    Ok(plans.into_iter().filter(|plan| names.is_empty() || names.contains(&plan.name)).collect())
}

impl Plan {
    /// Makes or reads the task's photos. Generated ones are written to `generated` once, and found there the next time; of a
    /// folder with many, some are taken that lie evenly apart.
    pub(super) fn prepare(&self, generated: &Path, folder: Option<&Path>) -> anyhow::Result<Task> {
        let photos = match (self.source, folder) {
            (Source::Generated { width, height, progressive }, _) => {
                let spec = PhotoSpec { width, height, progressive, ..PhotoSpec::default() };
                let folder = generated.join(folder_name(spec));
                write_photos(&folder, spec)?;
                read_photos(&folder)?
            }
            (Source::Folder, Some(folder)) => spread(read_photos(&std::path::absolute(folder)?)?),
            (Source::Folder, None) => bail!("the task {} needs --photos", self.name),
        };
        let sizes = if self.single { own_size() } else { ladder() };
        Ok(Task { name: self.name.clone(), codec: self.codec, sizes, photos })
    }
}

/// 720 × 588, as in sharp's own benchmark.
fn own_size() -> Vec<Size> {
    vec![Size { name: "own", width: 720, height: 588, fit: Fit::Cover }]
}

/// Four sizes inside a square, and a square cut from the centre.
fn ladder() -> Vec<Size> {
    let inside = |name, side| Size { name, width: side, height: side, fit: Fit::Inside };
    let square = Size { name: "square", width: 150, height: 150, fit: Fit::Cover };
    vec![inside("large", 2048), inside("medium", 1080), inside("small", 640), inside("thumb", 320), square]
}

/// At most [`PHOTOS_MAX`], from the first on.
fn spread<T>(all: Vec<T>) -> Vec<T> {
    let step = all.len().div_ceil(PHOTOS_MAX).max(1);
    all.into_iter().step_by(step).collect()
}

/// Another one when the generator, its quality or its encoder changes: a small photo of the same kind does then.
fn folder_name(spec: PhotoSpec) -> String {
    let mut hasher = DefaultHasher::new();
    jpeg(&PhotoSpec { width: 96, height: 64, ..spec }).hash(&mut hasher);
    let kind = if spec.progressive { "-progressive" } else { "" };
    format!("{}x{}{kind}-{:016x}", spec.width, spec.height, hasher.finish())
}

fn write_photos(folder: &Path, spec: PhotoSpec) -> anyhow::Result<()> {
    let shown = folder.display();
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {shown}"))?;
    let megapixels = (spec.width * spec.height).div_ceil(1_000_000);
    for seed in 0..u64::from((GENERATED_MEGAPIXELS / megapixels).clamp(4, PHOTOS_MAX as u32)) {
        let path = folder.join(format!("photo-{seed:02}.jpg"));
        if path.is_file() {
            continue;
        }
        // Renamed when it is complete, so that an interrupted run leaves no half photo to the next.
        let partial = folder.join("partial");
        fs::write(&partial, jpeg(&PhotoSpec { seed, ..spec }))
            .and_then(|()| fs::rename(&partial, &path))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::samples::generated;

    /// A ladder from one small photo that is in memory only.
    pub(in super::super) fn task_of_one_photo() -> Task {
        let spec = PhotoSpec { width: 640, height: 480, ..PhotoSpec::default() };
        Task {
            name: "jpeg-ladder-test".to_owned(),
            codec: Codec::Jpeg,
            sizes: ladder(),
            photos: vec![generated("a.jpg", &spec)],
        }
    }

    fn names(plans: &[Plan]) -> Vec<&str> {
        plans.iter().map(|plan| plan.name.as_str()).collect()
    }

    #[test]
    fn tasks_have_the_names_that_people_ask_for() {
        let plans = all(&[2, 12], true);
        assert_eq!(
            names(&plans)[..6],
            [
                "sharp-own",
                "jpeg-ladder-2mp",
                "jpeg-ladder-2mp-progressive",
                "jpeg-ladder-12mp",
                "jpeg-ladder-12mp-progressive",
                "jpeg-ladder-photos",
            ]
        );
        assert_eq!(names(&plans)[10], "webp-ladder-photos");
        assert_eq!(plans.len(), 11);
        let some = selected(plans.clone(), &["webp-ladder-2mp".to_owned(), "sharp-own".to_owned()]).unwrap();
        assert_eq!(names(&some), ["sharp-own", "webp-ladder-2mp"]);
        assert_eq!(selected(plans.clone(), &[]).unwrap(), plans);
        let error = selected(all(&[2], false), &["jpeg-ladder-12mp".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("`jpeg-ladder-12mp`") && error.contains("webp-ladder-2mp"), "{error}");
    }

    #[test]
    fn a_folder_of_many_photos_is_thinned_evenly() {
        assert_eq!(spread(vec![1, 2, 3]), [1, 2, 3]);
        assert!(spread(Vec::<u8>::new()).is_empty());
        let some = spread((0..100).collect());
        assert_eq!((some.len(), some[1], some[14]), (15, 7, 98));
    }

    #[test]
    fn photos_of_another_kind_lie_in_another_folder() {
        let spec = PhotoSpec::default();
        let name = folder_name(spec);
        assert_eq!(name, folder_name(spec));
        assert!(name.starts_with("4032x3024-"), "{name}");
        let worse = folder_name(PhotoSpec { quality: 80, ..spec });
        assert!(worse.starts_with("4032x3024-") && worse != name, "{worse}");
        assert!(folder_name(PhotoSpec { progressive: true, ..spec }).starts_with("4032x3024-progressive-"));
    }

    #[test]
    fn photos_are_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let spec = PhotoSpec { width: 48, height: 32, ..PhotoSpec::default() };
        write_photos(folder.path(), spec).unwrap();
        let first = folder.path().join("photo-00.jpg");
        fs::write(&first, "kept").unwrap();
        fs::remove_file(folder.path().join("photo-03.jpg")).unwrap();
        write_photos(folder.path(), spec).unwrap();
        assert_eq!(fs::read(&first).unwrap(), b"kept");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 16);
    }
}
