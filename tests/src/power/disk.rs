//! All files and folders below the recorder's root, and what may be on disk of them after a power cut.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::chance::Chance;
use super::content::Content;
use super::file::{Change, File};
use super::log::{Event, What};

/// The place of a file or folder in [`Disk::nodes`]. Inode numbers are used again by the real disk, these are not.
pub type NodeId = usize;

const ROOT: NodeId = 0;

/// The disk as the process saw it, with what of it is durable.
#[derive(Clone)]
pub struct Disk<'log> {
    nodes: Vec<Node<'log>>,
    /// Who has this inode number now.
    inodes: HashMap<u64, NodeId>,
    /// Syncs that have begun: the node, and how many of its changes they cover.
    syncs: HashMap<u64, (NodeId, usize)>,
    /// Renames between folders.
    moves: Vec<Move>,
}

#[derive(Clone)]
struct Node<'log> {
    /// Where it is, or was last: the folder and the name.
    place: Option<(NodeId, String)>,
    what: Kind<'log>,
}

#[derive(Clone)]
enum Kind<'log> {
    File(File<'log>),
    Folder(Folder),
}

#[derive(Clone, Default)]
struct Folder {
    /// What was durable from the beginning.
    found: BTreeMap<String, NodeId>,
    /// What is there now.
    entries: BTreeMap<String, NodeId>,
    changes: Vec<Renaming>,
    synced: usize,
}

impl Folder {
    /// The names in it when so many of the changes have arrived.
    fn after(&self, changes: usize) -> BTreeMap<String, NodeId> {
        let mut entries = self.found.clone();
        for (name, node) in self.changes[..changes].iter().flat_map(|renaming| &renaming.0) {
            match node {
                Some(node) => entries.insert(name.clone(), *node),
                None => entries.remove(name),
            };
        }
        entries
    }
}

/// What happens to names of one folder in one step: the name, and what has it now.
#[derive(Clone)]
struct Renaming(Vec<(String, Option<NodeId>)>);

/// A rename between folders, as a folder and the number of the change in each of the two.
#[derive(Clone)]
struct Move {
    left: (NodeId, usize),
    arrived: (NodeId, usize),
}

/// What a sync is about to make durable.
pub struct Syncing {
    pub path: String,
    pub node: NodeId,
    /// Names that have come to a folder, or have gone from it, since its last sync.
    pub came: Vec<String>,
    pub went: usize,
}

impl<'log> Disk<'log> {
    /// The files of a real folder, all durable.
    pub fn found(root: &Path) -> anyhow::Result<Self> {
        let node = Node { place: None, what: Kind::Folder(Folder::default()) };
        let mut disk =
            Self { nodes: vec![node], inodes: HashMap::new(), syncs: HashMap::new(), moves: Vec::new() };
        disk.inodes.insert(fs::metadata(root)?.ino(), ROOT);
        disk.find(ROOT, root).with_context(|| format!("listing {}", root.display()))?;
        Ok(disk)
    }

    fn find(&mut self, folder: NodeId, path: &Path) -> anyhow::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let (facts, path) = (entry.metadata()?, entry.path());
            let name = entry.file_name().to_string_lossy().into_owned();
            let what = if facts.is_dir() {
                Kind::Folder(Folder::default())
            } else if facts.is_file() {
                Kind::File(File::found(Content::read(&path)?))
            } else {
                // A socket: its name is not recorded either.
                continue;
            };
            let inner = self.add(what, facts.ino());
            self.nodes[inner].place = Some((folder, name.clone()));
            let parent = self.folder(folder)?;
            parent.found.insert(name.clone(), inner);
            parent.entries.insert(name, inner);
            if facts.is_dir() {
                self.find(inner, &path)?;
            }
        }
        Ok(())
    }

    /// The disk when the log was as long as `cut`, if the syncs with the numbers in `forgotten` had never been made.
    pub fn replay(
        &self,
        events: &[Event<'log>],
        cut: u64,
        forgotten: &BTreeSet<u64>,
    ) -> anyhow::Result<Disk<'log>> {
        let mut disk = self.clone();
        for event in events.iter().take_while(|event| event.end <= cut) {
            match event.what {
                What::SyncDone { number } if forgotten.contains(&number) => {}
                what => disk.apply(what)?,
            }
        }
        Ok(disk)
    }

    pub fn apply(&mut self, what: What<'log>) -> anyhow::Result<()> {
        match what {
            What::Created { path, inode } => {
                let node = self.add(Kind::File(File::default()), inode);
                self.enter(path, node)?;
            }
            What::FolderMade { path, inode } => {
                let node = self.add(Kind::Folder(Folder::default()), inode);
                self.enter(path, node)?;
            }
            What::Written { inode, at, bytes } => self.file(inode)?.change(Change::Write { at, bytes }),
            What::Resized { inode, size } => self.file(inode)?.change(Change::Resize { size }),
            What::Unlinked { path } | What::FolderRemoved { path } => {
                let (folder, name) = self.split(path)?;
                self.rename(folder, vec![(name, None)])?;
            }
            What::Renamed { path, target } => self.move_to(path, target)?,
            What::SyncBegun { inode, number, .. } => {
                let node = self.node(inode)?;
                let changes = match &self.nodes[node].what {
                    Kind::File(file) => file.changes(),
                    Kind::Folder(folder) => folder.changes.len(),
                };
                self.syncs.insert(number, (node, changes));
            }
            What::SyncDone { number } => {
                let (node, changes) = self.syncs.remove(&number).context("a sync ends that never began")?;
                match &mut self.nodes[node].what {
                    Kind::File(file) => file.synced(changes),
                    Kind::Folder(folder) => folder.synced = folder.synced.max(changes),
                }
            }
        }
        Ok(())
    }

    fn move_to(&mut self, path: &str, target: &str) -> anyhow::Result<()> {
        let (from, name) = self.split(path)?;
        let (to, new_name) = self.split(target)?;
        let node = *self.folder(from)?.entries.get(&name).with_context(|| format!("{path} is not there"))?;
        if from == to {
            self.rename(from, vec![(name, None), (new_name.clone(), Some(node))])?;
        } else {
            let left = self.rename(from, vec![(name, None)])?;
            let arrived = self.rename(to, vec![(new_name.clone(), Some(node))])?;
            self.moves.push(Move { left: (from, left), arrived: (to, arrived) });
        }
        self.nodes[node].place = Some((to, new_name));
        Ok(())
    }

    /// Gives a file that was found the inode number by which a test speaks of it.
    #[cfg(test)]
    pub fn known_as(&mut self, path: &str, inode: u64) {
        let node = if path.is_empty() {
            ROOT
        } else {
            let (folder, name) = self.split(path).unwrap();
            self.folder(folder).unwrap().entries[&name]
        };
        self.inodes.insert(inode, node);
    }

    /// What the sync that is about to begin would make durable.
    pub fn syncing(&self, inode: u64) -> anyhow::Result<Syncing> {
        let node = self.node(inode)?;
        let (mut came, mut went) = (Vec::new(), 0);
        if let Kind::Folder(folder) = &self.nodes[node].what {
            for (name, entry) in folder.changes[folder.synced..].iter().flat_map(|renaming| &renaming.0) {
                if entry.is_some() { came.push(name.clone()) } else { went += 1 }
            }
        }
        Ok(Syncing { path: self.path(node), node, came, went })
    }

    /// The path where a node is, or was last.
    pub fn path(&self, node: NodeId) -> String {
        match &self.nodes[node].place {
            None => String::new(),
            Some((ROOT, name)) => name.clone(),
            Some((folder, name)) => format!("{}/{name}", self.path(*folder)),
        }
    }

    /// The files and folders on disk after a power cut.
    pub fn after_the_cut(&self, chance: &mut Chance) -> Tree {
        let mut counts: Vec<usize> = self.nodes.iter().map(|node| node.arrived(chance)).collect();
        loop {
            let mut complete = true;
            for Move { left: (from, left), arrived: (to, change) } in &self.moves {
                // The old name is gone: then the new one is there, and with it what happened to its folder before.
                if counts[*from] > *left && counts[*to] <= *change {
                    counts[*to] = change + 1;
                    complete = false;
                }
            }
            if complete {
                break;
            }
        }
        let (mut tree, mut contents) = (Tree::default(), HashMap::new());
        let mut waiting = vec![(ROOT, PathBuf::new())];
        while let Some((node, path)) = waiting.pop() {
            match &self.nodes[node].what {
                Kind::File(file) => {
                    // Under two names it is one file.
                    let content = contents.entry(node).or_insert_with(|| file.after_the_cut(chance));
                    tree.files.insert(path, content.clone());
                }
                Kind::Folder(folder) => {
                    let entries = folder.after(counts[node]);
                    waiting.extend(entries.into_iter().map(|(name, inner)| (inner, path.join(name))));
                    tree.folders.insert(path);
                }
            }
        }
        tree
    }

    fn add(&mut self, what: Kind<'log>, inode: u64) -> NodeId {
        self.nodes.push(Node { place: None, what });
        self.inodes.insert(inode, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn enter(&mut self, path: &str, node: NodeId) -> anyhow::Result<()> {
        let (folder, name) = self.split(path)?;
        self.nodes[node].place = Some((folder, name.clone()));
        self.rename(folder, vec![(name, Some(node))]).map(drop)
    }

    /// Changes names of a folder; the change's number in it.
    fn rename(&mut self, folder: NodeId, names: Vec<(String, Option<NodeId>)>) -> anyhow::Result<usize> {
        let folder = self.folder(folder)?;
        for (name, node) in &names {
            match node {
                Some(node) => folder.entries.insert(name.clone(), *node),
                None => Some(folder.entries.remove(name).with_context(|| format!("there is no {name}"))?),
            };
        }
        folder.changes.push(Renaming(names));
        Ok(folder.changes.len() - 1)
    }

    /// The folder of a path, and its last part.
    fn split(&mut self, path: &str) -> anyhow::Result<(NodeId, String)> {
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut folder = ROOT;
        for part in parents.split('/').filter(|part| !part.is_empty()) {
            let entries = &self.folder(folder)?.entries;
            folder = *entries.get(part).with_context(|| format!("{path}: there is no {part}"))?;
        }
        Ok((folder, name.to_owned()))
    }

    fn node(&self, inode: u64) -> anyhow::Result<NodeId> {
        self.inodes.get(&inode).copied().with_context(|| format!("nobody made inode {inode}"))
    }

    fn file(&mut self, inode: u64) -> anyhow::Result<&mut File<'log>> {
        let node = self.node(inode)?;
        let Kind::File(file) = &mut self.nodes[node].what else { bail!("inode {inode} is a folder") };
        Ok(file)
    }

    fn folder(&mut self, node: NodeId) -> anyhow::Result<&mut Folder> {
        let Kind::Folder(folder) = &mut self.nodes[node].what else { bail!("a file is taken for a folder") };
        Ok(folder)
    }
}

impl Node<'_> {
    /// How many of a folder's changes have arrived, if it were alone.
    fn arrived(&self, chance: &mut Chance) -> usize {
        match &self.what {
            Kind::File(_) => 0,
            Kind::Folder(folder) => folder.synced + chance.steps(folder.changes.len() - folder.synced),
        }
    }
}

/// Files and folders, by paths relative to the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    pub folders: BTreeSet<PathBuf>,
    pub files: BTreeMap<PathBuf, Content>,
}

impl Tree {
    /// Makes it real in an empty folder.
    pub fn save(&self, root: &Path) -> anyhow::Result<()> {
        for folder in self.folders.iter().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir(root.join(folder)).with_context(|| format!("making {}", folder.display()))?;
        }
        for (path, content) in &self.files {
            content.save(&root.join(path)).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }

    /// In what the two differ below `folder`, in words.
    pub fn differences(&self, other: &Self, folder: &str) -> Vec<String> {
        let folders = self.folders.symmetric_difference(&other.folders);
        let mut found: Vec<String> = folders
            .filter(|path| path.starts_with(folder))
            .map(|path| format!("folder {} is only in one", path.display()))
            .collect();
        let paths: BTreeSet<&PathBuf> = self.files.keys().chain(other.files.keys()).collect();
        for path in paths.into_iter().filter(|path| path.starts_with(folder)) {
            match (self.files.get(path), other.files.get(path)) {
                (Some(one), Some(two)) if one == two => {}
                (Some(one), Some(two)) => {
                    let sizes = (one.size(), two.size());
                    found.push(format!("{} differs: {sizes:?} bytes", path.display()));
                }
                _ => found.push(format!("file {} is only in one", path.display())),
            }
        }
        found
    }
}
