//! A backup's bytes written to a file, whole or not at all.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::Summary;
use super::inspect::inspect;
use crate::StoreError;

/// A file that is being written, under another name until it is whole. Dropping it before [`Target::finish`] removes
/// what was written. Its methods block.
pub struct Target {
    file: Option<File>,
    unfinished: PathBuf,
    path: PathBuf,
}

impl Target {
    /// Begins to write what will be `path`. Nobody else may read it: it holds every record of every user.
    ///
    /// # Errors
    /// [`StoreError::Io`] if a file of that name is there already, or its folder cannot be written.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        use std::os::unix::fs::OpenOptionsExt;
        let io = |error| StoreError::io(format!("creating {}", path.display()), error);
        if path.try_exists().map_err(io)? {
            return Err(io(std::io::Error::new(
                std::io::ErrorKind::AlreadyExists,
                "a file of that name is there already; give another name, or move it away",
            )));
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".unfinished-{}", std::process::id()));
        let unfinished = path.with_file_name(name);
        let file = File::options().write(true).create_new(true).mode(0o600).open(&unfinished).map_err(io)?;
        Ok(Self { file: Some(file), unfinished, path: path.to_owned() })
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(bytes)
            .map_err(|error| StoreError::io(format!("writing {}", self.unfinished.display()), error))
    }

    /// Syncs what was written, reads it all again, and gives it its name if it is a whole backup.
    ///
    /// # Errors
    /// [`StoreError::BadBackup`] if it is none; [`StoreError::Io`].
    pub fn finish(mut self) -> Result<Summary, StoreError> {
        let io = |error| StoreError::io(format!("finishing {}", self.path.display()), error);
        if let Some(file) = &self.file {
            file.sync_all().map_err(io)?;
        }
        let summary = inspect(&self.unfinished)?;
        std::fs::rename(&self.unfinished, &self.path).map_err(io)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all()).map_err(io)?;
        self.file = None;
        Ok(summary)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.file.is_some() {
            // What stays is under a name that says what it is.
            let _ = std::fs::remove_file(&self.unfinished);
        }
    }
}
