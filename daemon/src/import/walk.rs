//! Finds the files that were asked for.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail};
use globset::{GlobBuilder, GlobMatcher};
use tokio_util::sync::CancellationToken;
use walkdir::{DirEntry, WalkDir};

/// Names by which a photo is known: those of the formats of docs/formats.md.
const PHOTO_EXTENSIONS: &[&str] = &[
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff", "avif", "heic",
    "heif", "hif", "jxl",
];

/// What passes for an extension of what is no file at all.
pub(super) const NO_FILE: &str = "pipes, sockets and devices";

/// What makes a name a glob, if nothing has that name.
const GLOB_SIGNS: &[u8] = b"*?[{";

/// A file that is to be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

/// What the inputs name.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// In the order of their paths, each once.
    pub(super) files: Vec<Found>,
    /// What could not be looked at, and why.
    pub(super) unreadable: Vec<(PathBuf, String)>,
    /// What was passed over because of its name: how many of each extension, and [`NO_FILE`].
    pub(super) passed_over: BTreeMap<String, u64>,
    /// Symbolic links that were not followed.
    pub(super) links: u64,
    /// How often something was found that a glob matches, or that could not be looked at: files, taken or not, and links.
    matched: u64,
}

/// What is found in directories.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rules {
    pub(super) follow: bool,
    pub(super) hidden: bool,
    pub(super) all: bool,
    /// Names on standard input end with a NUL.
    pub(super) null: bool,
}

/// Looks at every input. What was named and is not there is an error of a whole command line, and one file's when it comes
/// from a list.
///
/// # Errors
/// An argument that names nothing, a pattern that is none, and an unreadable list.
pub(super) fn walk(inputs: &[PathBuf], rules: Rules, stop: &CancellationToken) -> anyhow::Result<Walk> {
    let mut walker = Walker { rules, stop, walk: Walk::default() };
    for input in inputs {
        if input.as_os_str() == "-" {
            walker.listed(&read_names(io::stdin().lock())?);
        } else {
            walker.named(input)?;
        }
    }
    let mut walk = walker.walk;
    walk.files.sort_by(|one, other| one.path.cmp(&other.path));
    walk.files.dedup_by(|one, other| one.path == other.path);
    Ok(walk)
}

fn read_names(mut list: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut names = Vec::new();
    list.read_to_end(&mut names).context("could not read the names on standard input")?;
    Ok(names)
}

struct Walker<'s> {
    rules: Rules,
    stop: &'s CancellationToken,
    walk: Walk,
}

impl Walker<'_> {
    /// Files of a list: each stands for itself, whatever it is called.
    fn listed(&mut self, names: &[u8]) {
        let end = if self.rules.null { b'\0' } else { b'\n' };
        for name in names.split(|byte| *byte == end).filter(|name| !name.is_empty()) {
            let path = Path::new(OsStr::from_bytes(name));
            match fs::metadata(path) {
                Ok(metadata) => self.take(path, &metadata),
                Err(error) => self.walk.unreadable.push((path.to_owned(), error.to_string())),
            }
        }
    }

    /// An argument.
    fn named(&mut self, input: &Path) -> anyhow::Result<()> {
        match fs::metadata(input) {
            Ok(metadata) => self.take(input, &metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_glob(input) => {
                return self.glob(input);
            }
            Err(error) => {
                return Err(error).with_context(|| {
                    format!(
                        "could not look at {}: nothing was imported; correct or remove it",
                        input.display()
                    )
                });
            }
        }
        Ok(())
    }

    fn take(&mut self, path: &Path, metadata: &fs::Metadata) {
        if metadata.is_dir() {
            self.below(path, None);
        } else if metadata.is_file() {
            self.walk.files.push(Found { path: path.to_owned(), bytes: metadata.len() });
        } else {
            // Opening a pipe would wait for whoever writes into it.
            self.walk.unreadable.push((path.to_owned(), "it is not a file".to_owned()));
        }
    }

    fn glob(&mut self, pattern: &Path) -> anyhow::Result<()> {
        let Some(text) = pattern.to_str() else {
            bail!("the pattern {} is not UTF-8: name the directory instead", pattern.display());
        };
        let glob = GlobBuilder::new(text).literal_separator(true).build()?.compile_matcher();
        let (root, rest) = split(pattern);
        fs::metadata(&root).with_context(|| {
            format!("could not look at {}: nothing was imported; correct or remove {text:?}", root.display())
        })?;
        let before = self.walk.matched;
        self.below(&root, Some(&Pattern::new(glob, &rest)));
        if before == self.walk.matched && !self.stop.is_cancelled() {
            bail!("nothing matches {text:?}: nothing was imported; correct or remove it");
        }
        Ok(())
    }

    /// Everything below a directory, or what of it matches.
    fn below(&mut self, root: &Path, pattern: Option<&Pattern>) {
        let hidden = self.rules.hidden || pattern.is_some_and(|pattern| pattern.hidden);
        let mut entries = WalkDir::new(root).follow_links(self.rules.follow).sort_by_file_name();
        if let Some(depth) = pattern.and_then(|pattern| pattern.depth) {
            entries = entries.max_depth(depth);
        }
        let seen = |entry: &DirEntry| entry.depth() == 0 || hidden || !is_hidden(entry);
        for entry in entries.into_iter().filter_entry(seen) {
            if self.stop.is_cancelled() {
                return;
            }
            match entry {
                Ok(entry) => self.entry(&entry, pattern),
                // A link to a folder that it lies in: everything there is found without it.
                Err(error) if error.loop_ancestor().is_some() => self.walk.links += 1,
                Err(error) => {
                    self.walk.matched += 1;
                    let path = error.path().unwrap_or(root);
                    let path = path.strip_prefix(".").unwrap_or(path).to_owned();
                    let why = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
                    self.walk.unreadable.push((path, why));
                }
            }
        }
    }

    fn entry(&mut self, entry: &DirEntry, pattern: Option<&Pattern>) {
        // A pattern without a directory is walked from here, which its names do not begin with.
        let path = entry.path().strip_prefix(".").unwrap_or(entry.path());
        if pattern.is_some_and(|pattern| !pattern.glob.is_match(path)) {
            return;
        }
        self.walk.matched += u64::from(!entry.file_type().is_dir());
        if entry.path_is_symlink() && !self.rules.follow && entry.depth() > 0 {
            self.walk.links += 1;
        } else if is_special(entry.file_type()) {
            *self.walk.passed_over.entry(NO_FILE.to_owned()).or_default() += 1;
        } else if entry.file_type().is_file() {
            match photo_extension(path) {
                Err(other) if !self.rules.all => *self.walk.passed_over.entry(other).or_default() += 1,
                _ => match entry.metadata() {
                    Ok(metadata) => {
                        self.walk.files.push(Found { path: path.to_owned(), bytes: metadata.len() });
                    }
                    Err(error) => self.walk.unreadable.push((path.to_owned(), error.to_string())),
                },
            }
        }
    }
}

/// A glob, and what is known of it without looking.
struct Pattern {
    glob: GlobMatcher,
    /// Longest path below its root that it can match.
    depth: Option<usize>,
    /// It names what is hidden.
    hidden: bool,
}

impl Pattern {
    fn new(glob: GlobMatcher, rest: &[&OsStr]) -> Self {
        let bytes = || rest.iter().map(|part| part.as_bytes());
        // Braces may hold slashes.
        let any_depth = bytes().any(|part| part.windows(2).any(|two| two == b"**") || part.contains(&b'{'));
        Self {
            glob,
            depth: (!any_depth).then_some(rest.len()),
            hidden: bytes().any(|part| part.starts_with(b".")),
        }
    }
}

/// The directory in which a pattern's search begins, and the components that are left.
fn split(pattern: &Path) -> (PathBuf, Vec<&OsStr>) {
    let plain = |part: &Component| !is_glob(Path::new(part.as_os_str()));
    let root: PathBuf = pattern.components().take_while(plain).collect();
    let rest = pattern.components().skip_while(plain).map(Component::as_os_str).collect();
    (if root.as_os_str().is_empty() { PathBuf::from(".") } else { root }, rest)
}

fn is_glob(path: &Path) -> bool {
    path.as_os_str().as_bytes().iter().any(|byte| GLOB_SIGNS.contains(byte))
}

/// Neither a file nor a folder: opening it would wait for somebody, or read what never ends.
fn is_special(kind: fs::FileType) -> bool {
    kind.is_fifo() || kind.is_socket() || kind.is_char_device() || kind.is_block_device()
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().as_bytes().starts_with(b".")
}

/// The extension if it is a photo's, otherwise what it is instead.
fn photo_extension(path: &Path) -> Result<(), String> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    match extension {
        Some(extension) if PHOTO_EXTENSIONS.contains(&extension.as_str()) => Ok(()),
        Some(extension) => Err(format!(".{extension}")),
        None => Err("no extension".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A tree with what trees have.
    fn tree() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        let root = home.path();
        for folder in ["a/deep", ".hidden", "b"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in
            ["a/1.jpg", "a/deep/2.JPEG", "b/3.png", "b/notes.txt", ".hidden/4.jpg", "b/._5.jpg", "README"]
        {
            fs::write(root.join(file), file).unwrap();
        }
        symlink(root.join("a"), root.join("b/loop")).unwrap();
        symlink(root, root.join("a/up")).unwrap();
        symlink(root.join("b/3.png"), root.join("a/link.png")).unwrap();
        home
    }

    fn found(home: &tempfile::TempDir, inputs: &[&str], rules: Rules) -> (Vec<String>, Walk) {
        let inputs: Vec<_> = inputs.iter().map(|input| home.path().join(input)).collect();
        let walk = walk(&inputs, rules, &CancellationToken::new()).unwrap();
        let names = walk.files.iter().map(|file| file.path.strip_prefix(home.path()).unwrap());
        (names.map(|name| name.to_str().unwrap().to_owned()).collect(), walk)
    }

    #[test]
    fn a_directory_is_walked_in_order_without_what_is_hidden_linked_or_no_photo() {
        let (names, walk) = found(&tree(), &[""], Rules::default());
        assert_eq!(names, ["a/1.jpg", "a/deep/2.JPEG", "b/3.png"]);
        assert_eq!(walk.files[0].bytes, "a/1.jpg".len() as u64);
        let passed: Vec<_> = walk.passed_over.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(passed, [(".txt", 1), ("no extension", 1)]);
        assert_eq!(walk.links, 3);
        assert!(walk.unreadable.is_empty());
    }

    #[test]
    fn hidden_files_and_those_of_any_name_are_found_where_asked_for() {
        let (names, _) = found(&tree(), &[""], Rules { hidden: true, ..Rules::default() });
        assert_eq!(names, [".hidden/4.jpg", "a/1.jpg", "a/deep/2.JPEG", "b/._5.jpg", "b/3.png"]);
        let (names, walk) = found(&tree(), &[""], Rules { all: true, ..Rules::default() });
        assert_eq!(names, ["README", "a/1.jpg", "a/deep/2.JPEG", "b/3.png", "b/notes.txt"]);
        assert!(walk.passed_over.is_empty());
    }

    #[test]
    fn links_are_followed_where_asked_for_and_loops_end() {
        let (names, walk) = found(&tree(), &[""], Rules { follow: true, ..Rules::default() });
        assert!(
            names.contains(&"a/link.png".to_owned()) && names.contains(&"b/loop/1.jpg".to_owned()),
            "{names:?}"
        );
        assert!(names.len() < 20, "{names:?}");
        assert!(walk.unreadable.is_empty(), "{:?}", walk.unreadable);
    }

    #[test]
    fn a_glob_finds_what_matches_below_its_plain_beginning() {
        let home = tree();
        let plain = Rules::default();
        assert_eq!(found(&home, &["a/*.jpg"], plain).0, ["a/1.jpg"]);
        assert_eq!(found(&home, &["**/*.{JPEG,png}"], plain).0, ["a/deep/2.JPEG", "b/3.png"]);
        assert_eq!(found(&home, &[".hidden/*"], plain).0, [".hidden/4.jpg"]);
        assert_eq!(found(&home, &["?/[0-9].*"], plain).0, ["a/1.jpg", "b/3.png"]);
        // Also what overlaps is found once.
        assert_eq!(found(&home, &["a", "a/1.jpg", "*/1.jpg"], plain).0, ["a/1.jpg", "a/deep/2.JPEG"]);
    }

    #[test]
    fn a_glob_whose_matches_are_passed_over_matches_all_the_same() {
        let (home, plain) = (tree(), Rules::default());
        // The second one finds a kind of name that the first one found before.
        let (names, walk) = found(&home, &["b/*.txt", "**/*.txt"], plain);
        assert_eq!((names.len(), walk.passed_over[".txt"]), (0, 2));
        let (names, walk) = found(&home, &["a/*.png"], plain);
        assert_eq!((names.len(), walk.links), (0, 1));
    }

    #[test]
    fn a_file_that_is_named_is_taken_whatever_its_name() {
        let home = tree();
        assert_eq!(
            found(&home, &["b/notes.txt", "b/._5.jpg"], Rules::default()).0,
            ["b/._5.jpg", "b/notes.txt"]
        );
        fs::write(home.path().join("[1].jpg"), "a name like a glob").unwrap();
        assert_eq!(found(&home, &["[1].jpg"], Rules::default()).0, ["[1].jpg"]);
    }

    #[test]
    fn an_argument_that_names_nothing_is_refused_and_a_listed_name_is_not_fatal() {
        let (home, stop) = (tree(), CancellationToken::new());
        for wrong in ["nowhere", "nowhere/*.jpg", "a/*.gif"] {
            let error = walk(&[home.path().join(wrong)], Rules::default(), &stop).unwrap_err();
            assert!(format!("{error:#}").contains(wrong), "{error:#}");
        }
        let mut walker = Walker { rules: Rules::default(), stop: &stop, walk: Walk::default() };
        let there = home.path().join("a/1.jpg");
        walker.listed(format!("/nowhere.jpg\n{}\n\n", there.display()).as_bytes());
        assert_eq!((walker.walk.files.len(), walker.walk.unreadable.len()), (1, 1));
    }

    #[test]
    fn what_cannot_be_opened_as_a_file_is_named_and_not_waited_for() {
        let home = tree();
        let pipe = home.path().join("pipe.jpg");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let (_, walk) = found(&home, &["pipe.jpg"], Rules::default());
        assert_eq!(walk.unreadable, [(pipe, "it is not a file".to_owned())]);
        // In a folder nobody has asked for it, nor for what a link leads to.
        let _socket = std::os::unix::net::UnixListener::bind(home.path().join("socket.jpg")).unwrap();
        symlink("pipe.jpg", home.path().join("link.jpg")).unwrap();
        for (rules, passed) in
            [(Rules::default(), 2), (Rules { all: true, follow: true, ..Rules::default() }, 3)]
        {
            let (names, walk) = found(&home, &[""], rules);
            assert!(!names.is_empty() && names.iter().all(|name| !name.contains("pipe")), "{names:?}");
            assert_eq!(walk.passed_over[NO_FILE], passed);
        }
    }
}
