//! What a TIFF's own directories tell of camera and exposure: its first one, and the EXIF directory that this points to
//! (CIPA DC-008, section 4.6).
//!
//! Only what lies ahead is read: values behind their directory, and the EXIF directory behind the first. That is how
//! libtiff, Photoshop and cameras write.

use super::stretch::Stretch;
use crate::directory::Shape;
use crate::metadata::tiff::{EXIF_DIRECTORY, VALUE_BYTES_MAX, element_bytes};
use crate::metadata::{capture_of, is_capture};
use crate::{Capture, Limits};

/// Most entries that are read of the EXIF directory. Cameras write about 60.
const ENTRIES_MAX: u64 = 1_000;

/// An entry that tells something of how the photo was taken.
#[derive(Debug)]
struct Field {
    tag: u16,
    kind: u16,
    value: Stretch,
}

#[derive(Debug)]
pub(super) struct Reader {
    shape: Shape,
    /// At most one of each tag.
    fields: Vec<Field>,
    /// The EXIF directory, while it is waited for: first the number of its entries.
    directory: Option<Stretch>,
}

impl Reader {
    pub(super) const fn new(shape: Shape) -> Self {
        Self { shape, fields: Vec::new(), directory: None }
    }

    /// Takes an entry of the first directory, which ends at byte `end`.
    pub(super) fn add(&mut self, entry: &[u8], end: u64, limits: &Limits) {
        let number = |from: usize, to: usize| self.shape.number(entry.get(from..to).unwrap_or_default());
        if number(0, 2) != u64::from(EXIF_DIRECTORY) {
            return self.add_field(entry, end, limits);
        }
        let field_at = self.shape.entry_bytes() - self.shape.field_bytes();
        let bytes = match number(2, 4) {
            4 | 13 => 4,
            16 | 18 if self.shape.big => 8,
            _ => return,
        };
        let at = number(field_at, field_at + bytes);
        if at >= end && self.directory.is_none() {
            self.directory = Some(Stretch::new(at, self.shape.count_bytes()));
        }
    }

    /// Takes an entry of either directory if it tells something. What would exceed the limits is passed over.
    fn add_field(&mut self, entry: &[u8], end: u64, limits: &Limits) {
        let shape = self.shape;
        let number = |from: usize, to: usize| shape.number(entry.get(from..to).unwrap_or_default());
        let (tag, kind) = (number(0, 2) as u16, number(2, 4) as u16);
        if !is_capture(tag) || self.fields.iter().any(|field| field.tag == tag) {
            return;
        }
        let field_at = shape.entry_bytes() - shape.field_bytes();
        let bytes = element_bytes(kind).and_then(|size| number(4, field_at).checked_mul(size as u64));
        let held: usize = self.fields.iter().map(|field| field.value.bytes()).sum();
        let room = (limits.metadata_bytes_max as usize).saturating_sub(held).min(VALUE_BYTES_MAX);
        let Some(bytes) = bytes.and_then(|bytes| usize::try_from(bytes).ok()).filter(|bytes| *bytes <= room)
        else {
            return;
        };
        let value = if bytes <= shape.field_bytes() {
            Stretch::known(entry.get(field_at..field_at + bytes).unwrap_or_default())
        } else {
            let at = number(field_at, shape.entry_bytes());
            if at < end {
                return;
            }
            Stretch::new(at, bytes)
        };
        self.fields.push(Field { tag, kind, value });
    }

    /// Takes the next piece of the stream, which begins at byte `at`, after the walk's steps were taken in it: what they
    /// have found may lie in it as well.
    pub(super) fn pass(&mut self, at: u64, piece: &[u8], limits: &Limits) {
        while let Some(directory) = &mut self.directory {
            directory.pass(at, piece);
            let Some(bytes) = directory.whole() else { break };
            if let Some(entries) = bytes.get(self.shape.count_bytes()..).filter(|entries| !entries.is_empty())
            {
                let (entries, end) = (entries.to_vec(), directory.end());
                self.directory = None;
                for entry in entries.chunks_exact(self.shape.entry_bytes()) {
                    self.add_field(entry, end, limits);
                }
            } else {
                match self.shape.number(bytes).min(ENTRIES_MAX) {
                    0 => self.directory = None,
                    count => directory.extend(count as usize * self.shape.entry_bytes()),
                }
            }
        }
        for field in &mut self.fields {
            field.value.pass(at, piece);
        }
    }

    /// What was told.
    pub(super) fn capture(&self) -> Option<Box<Capture>> {
        let fields = self.fields.iter();
        let whole = fields.filter_map(|field| Some((field.tag, field.kind, field.value.whole()?)));
        capture_of(self.shape.big_endian, whole).map(Box::new)
    }
}
