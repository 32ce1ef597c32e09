//! Reading photos from a folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bytes::Bytes;
use darkroom_media::{Limits, SourceFormat, probe};

/// A photo in memory.
#[derive(Debug, Clone)]
pub(crate) struct Photo {
    /// Where it came from, for messages.
    pub(crate) name: String,
    pub(crate) format: SourceFormat,
    /// Pixels, as stored.
    pub(crate) pixels: u64,
    pub(crate) bytes: Bytes,
}

/// Every photo directly inside a folder, by name. Files that are no complete photo of a supported format are left out and
/// named on standard error; a folder without any photo is an error.
pub(crate) fn read_photos(folder: &Path) -> anyhow::Result<Vec<Photo>> {
    let shown = folder.display();
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {shown}"))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    let mut photos = Vec::new();
    for path in files {
        let name = path.display().to_string();
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {name}"))?;
        match probe(&bytes, &Limits::default()) {
            Ok(found) => {
                photos.push(Photo {
                    name,
                    format: found.format,
                    pixels: found.pixels(),
                    bytes: bytes.into(),
                });
            }
            Err(error) => eprintln!("{name} is left out: {error}"),
        }
    }
    if photos.is_empty() {
        bail!("there are no photos in {shown}: `darkroom-bench photos --out {shown} --count 8` makes some");
    }
    Ok(photos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_photos_says_so() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("notes.txt"), "no photo").unwrap();
        let error = read_photos(folder.path()).unwrap_err().to_string();
        assert!(error.starts_with("there are no photos in "), "{error}");
        let error = read_photos(&folder.path().join("missing")).unwrap_err().to_string();
        assert!(error.starts_with("cannot read the folder "), "{error}");
    }
}
