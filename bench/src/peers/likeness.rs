//! How good the sides' variants are, by one and the same code.

use std::fs;
use std::path::Path;

use super::side::{Contender, file_name};
use super::task::Task;
use crate::engine::{Size, output_size};
use crate::lanczos::resize;
use crate::picture::Picture;
use crate::ssim::{Luma, ssim};

/// The first photo of a task, and what its variants should look like.
pub(super) struct Original {
    picture: Picture,
    references: Vec<Expected>,
}

/// The reference of one variant, at one size.
struct Expected {
    name: &'static str,
    size: (usize, usize),
    luma: Luma,
}

impl Original {
    /// Fails with a sentence where no reference can be made, so that SSIM is missing from the task.
    pub(super) fn of(task: &Task) -> Result<Self, String> {
        let photo = task.photos.first().ok_or("there is no photo")?;
        let picture = Picture::decode(&photo.bytes).map_err(|error| format!("{}: {error:#}", photo.name))?;
        Ok(Self { picture, references: Vec::new() })
    }

    /// The SSIM of each variant that a side kept in `folder`, in the task's order. Fails with a sentence when a variant is
    /// missing, cannot be decoded, or is more than a pixel off its size: then the side did something else.
    pub(super) fn compare(
        &mut self,
        task: &Task,
        contender: Contender,
        folder: &Path,
    ) -> Result<Vec<f64>, String> {
        task.sizes
            .iter()
            .map(|size| {
                let name = file_name(size.name, contender.output.format);
                self.compare_file(size, &folder.join(&name)).map_err(|error| format!("{name}: {error}"))
            })
            .collect()
    }

    fn compare_file(&mut self, wanted: &Size, path: &Path) -> Result<f64, String> {
        let bytes = fs::read(path).map_err(|error| error.to_string())?;
        let shown = Picture::decode(&bytes).map_err(|error| format!("{error:#}"))?;
        let (width, height) = output_size(wanted, (self.picture.width as u32, self.picture.height as u32));
        let off = |is: usize, expected: u32| is.abs_diff(expected as usize) > 1;
        if off(shown.width, width) || off(shown.height, height) {
            let (is_width, is_height) = (shown.width, shown.height);
            return Err(format!("it is {is_width}×{is_height} pixels, and should be {width}×{height}"));
        }
        let reference = self.reference(wanted, (shown.width, shown.height));
        ssim(reference, &Luma::of_picture(&shown)).ok_or_else(|| "its size cannot be compared".to_owned())
    }

    /// Made once: the sides share it.
    fn reference(&mut self, wanted: &Size, size: (usize, usize)) -> &Luma {
        let known = self.references.iter().position(|one| (one.name, one.size) == (wanted.name, size));
        let index = known.unwrap_or_else(|| {
            let luma = Luma::of_reference(&resize(&self.picture, wanted.fit, size));
            self.references.push(Expected { name: wanted.name, size, luma });
            self.references.len() - 1
        });
        &self.references[index].luma
    }
}

#[cfg(test)]
mod tests {
    use super::super::install::Tools;
    use super::super::side::{Side, contenders};
    use super::super::task::tests::task_of_one_photo;
    use super::*;
    use crate::engine::Format;

    #[test]
    fn what_a_side_kept_is_compared_and_a_wrong_size_refused() {
        let task = task_of_one_photo();
        let folder = tempfile::tempdir().unwrap();
        let own = contenders(Format::Jpeg).into_iter().find(|row| row.side == Side::Darkroom).unwrap();
        let tools = Tools { node: Err(String::new()), python: Err(String::new()) };
        let kept = own.keep(&task, &tools, folder.path()).unwrap();
        assert!(kept.bytes > 1000.0 && kept.versions.starts_with("darkroom "), "{kept:?}");
        let mut original = Original::of(&task).unwrap();
        let values = original.compare(&task, own, folder.path()).unwrap();
        assert_eq!(values.len(), 5);
        assert!(values.iter().all(|value| (0.75..1.0).contains(value)), "{values:?}");
        // Two of the sizes are the photo's own, and still have references of their own.
        assert_eq!(original.references.len(), 5);
        fs::copy(folder.path().join("thumb.jpg"), folder.path().join("small.jpg")).unwrap();
        let error = original.compare(&task, own, folder.path()).unwrap_err();
        assert_eq!(error, "small.jpg: it is 320×240 pixels, and should be 640×480");
    }
}
