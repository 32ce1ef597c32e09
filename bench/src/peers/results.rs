//! How good the sides' variants are, by one and the same code.

use std::fs;
use std::path::Path;

use super::side::{Contender, file_name};
use super::task::Task;
use crate::engine::{Size, output_size};
use crate::likeness::Original;
use crate::picture::Picture;

/// The SSIM of each variant that a side kept of a photo in `folder`, in the task's order. Fails with a sentence when a variant is
/// missing, cannot be decoded, or is more than a pixel off its size: then the side did something else.
pub(super) fn compare(
    original: &mut Original,
    task: &Task,
    contender: Contender,
    photo: usize,
    folder: &Path,
) -> Result<Vec<f64>, String> {
    let of_size = |size: &Size| {
        let name = file_name(photo, size.name, contender.encoding);
        compare_file(original, size, &folder.join(&name)).map_err(|error| format!("{name}: {error}"))
    };
    task.sizes.iter().map(of_size).collect()
}

fn compare_file(original: &mut Original, wanted: &Size, path: &Path) -> Result<f64, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let shown = Picture::decode(&bytes).map_err(|error| format!("{error:#}"))?;
    let (width, height) = original.size();
    let (width, height) = output_size(wanted, (width as u32, height as u32));
    let off = |is: usize, expected: u32| is.abs_diff(expected as usize) > 1;
    if off(shown.width, width) || off(shown.height, height) {
        let (is_width, is_height) = (shown.width, shown.height);
        return Err(format!("it is {is_width}×{is_height} pixels, and should be {width}×{height}"));
    }
    original.compare(wanted.fit, &shown).map(|likeness| likeness.ssim).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::install::Tools;
    use crate::peers::side::contenders;
    use crate::peers::task::Codec;
    use crate::peers::task::tests::task_of_one_photo;

    #[test]
    fn what_a_side_kept_is_compared_and_a_wrong_size_refused() {
        let task = task_of_one_photo();
        let folder = tempfile::tempdir().unwrap();
        let own = contenders(Codec::Jpeg)[0];
        let tools = Tools { node: Err(String::new()), python: Err(String::new()) };
        let kept = own.keep(&task, &tools, folder.path()).unwrap();
        assert!(kept.bytes > 1000.0 && kept.versions.starts_with("darkroom "), "{kept:?}");
        let mut original = Original::decode(&task.photos[0].bytes).unwrap();
        let values = compare(&mut original, &task, own, 0, folder.path()).unwrap();
        assert_eq!(values.len(), 5);
        assert!(values.iter().all(|value| (0.75..1.0).contains(value)), "{values:?}");
        fs::copy(folder.path().join("0-thumb.jpg"), folder.path().join("0-small.jpg")).unwrap();
        let error = compare(&mut original, &task, own, 0, folder.path()).unwrap_err();
        assert_eq!(error, "0-small.jpg: it is 320×240 pixels, and should be 640×480");
    }
}
