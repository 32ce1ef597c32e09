//! TIFFs and BMPs made field by field, also of kinds that no library writes.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::Write;

/// Field types of TIFF.
pub(crate) const SHORT: u16 = 3;
pub(crate) const LONG: u16 = 4;

/// Where the directory lies, and the lists that it points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Directory, lists, pixels.
    First,
    /// Pixels, directory, lists.
    Middle,
    /// Pixels, lists, directory.
    Last,
}

/// A TIFF to be.
#[derive(Debug, Clone)]
pub(crate) struct Tiff {
    pub(crate) big_endian: bool,
    /// BigTIFF.
    pub(crate) big: bool,
    pub(crate) place: Place,
    /// Tags by number: type and values.
    fields: Vec<(u16, u16, Vec<u64>)>,
    /// Tags whose values are bytes.
    blocks: Vec<(u16, Vec<u8>)>,
    /// Strips or tiles.
    chunks: Vec<Vec<u8>>,
}

impl Tiff {
    /// Little-endian, classic, gray of one sample of 8 bits, its directory at the end.
    pub(crate) fn new(width: u32, height: u32) -> Self {
        let tiff = Self {
            big_endian: false,
            big: false,
            place: Place::Last,
            fields: Vec::new(),
            blocks: Vec::new(),
            chunks: Vec::new(),
        };
        tiff.with(256, LONG, &[width.into()]).with(257, LONG, &[height.into()]).with(258, SHORT, &[8]).with(
            262,
            SHORT,
            &[1],
        )
    }

    /// Sets a tag, or replaces it.
    pub(crate) fn with(mut self, tag: u16, kind: u16, values: &[u64]) -> Self {
        self.fields.retain(|(other, ..)| *other != tag);
        self.fields.push((tag, kind, values.to_vec()));
        self
    }

    pub(crate) fn without(mut self, tag: u16) -> Self {
        self.fields.retain(|(other, ..)| *other != tag);
        self
    }

    /// Sets a tag whose values are bytes.
    pub(crate) fn with_block(mut self, tag: u16, bytes: &[u8]) -> Self {
        self.blocks.push((tag, bytes.to_vec()));
        self
    }

    /// Photometric, and so many samples of so many bits.
    pub(crate) fn kind(self, photometric: u64, samples: u64, bits: u64) -> Self {
        let bits = vec![bits; samples as usize];
        self.with(262, SHORT, &[photometric]).with(277, SHORT, &[samples]).with(258, SHORT, &bits)
    }

    /// Adds a strip or tile.
    pub(crate) fn chunk(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.chunks.push(bytes.into());
        self
    }

    fn number(&self, value: u64, size: usize) -> Vec<u8> {
        let bytes = value.to_be_bytes();
        let mut bytes = bytes[8 - size..].to_vec();
        if !self.big_endian {
            bytes.reverse();
        }
        bytes
    }

    /// The file.
    pub(crate) fn build(&self) -> Vec<u8> {
        let (header, field) = if self.big { (16, 8) } else { (8, 4) };
        let tiled = self.fields.iter().any(|(tag, ..)| *tag == 322);
        let (offsets, counts) = if tiled { (324, 325) } else { (273, 279) };
        // Number of values and their bytes, by tag; the offsets are filled in when it is known where the chunks lie.
        let mut entries: Vec<(u16, u16, u64, Vec<u8>)> = Vec::new();
        for (tag, kind, values) in &self.fields {
            let size = match kind {
                1 => 1,
                3 => 2,
                16 => 8,
                _ => 4,
            };
            let bytes = values.iter().flat_map(|value| self.number(*value, size)).collect();
            entries.push((*tag, *kind, values.len() as u64, bytes));
        }
        for (tag, bytes) in &self.blocks {
            entries.push((*tag, 7, bytes.len() as u64, bytes.clone()));
        }
        let lengths: Vec<u8> =
            self.chunks.iter().flat_map(|chunk| self.number(chunk.len() as u64, 4)).collect();
        for (tag, bytes) in [(offsets, vec![0; lengths.len()]), (counts, lengths)] {
            if !bytes.is_empty() && !entries.iter().any(|(other, ..)| *other == tag) {
                entries.push((tag, LONG, self.chunks.len() as u64, bytes));
            }
        }
        entries.sort_by_key(|(tag, ..)| *tag);

        let directory_bytes = if self.big { 8 + 8 } else { 2 + 4 } + entries.len() * (4 + 2 * field);
        let outside = |bytes: &Vec<u8>| if bytes.len() > field { bytes.len() } else { 0 };
        let lists_bytes: usize = entries.iter().map(|(.., bytes)| outside(bytes)).sum();
        let pixel_bytes: usize = self.chunks.iter().map(Vec::len).sum();
        let (directory_at, lists_at, pixels_at) = match self.place {
            Place::First => (header, header + directory_bytes, header + directory_bytes + lists_bytes),
            Place::Middle => (header + pixel_bytes, header + pixel_bytes + directory_bytes, header),
            Place::Last => (header + pixel_bytes + lists_bytes, header + pixel_bytes, header),
        };
        if let Some(entry) =
            entries.iter_mut().find(|(tag, _, _, bytes)| *tag == offsets && bytes.iter().all(|b| *b == 0))
        {
            let mut at = pixels_at;
            entry.3 = Vec::new();
            for chunk in &self.chunks {
                entry.3.extend(self.number(at as u64, 4));
                at += chunk.len();
            }
        }

        let mut directory = self.number(entries.len() as u64, if self.big { 8 } else { 2 });
        let mut lists = Vec::new();
        for (tag, kind, count, bytes) in &entries {
            directory.extend(self.number((*tag).into(), 2));
            directory.extend(self.number((*kind).into(), 2));
            directory.extend(self.number(*count, field));
            if bytes.len() > field {
                directory.extend(self.number((lists_at + lists.len()) as u64, field));
                lists.extend(bytes);
            } else {
                directory.extend(bytes);
                directory.resize(directory.len() + field - bytes.len(), 0);
            }
        }
        directory.extend(self.number(0, field));
        let mut file = if self.big_endian { b"MM".to_vec() } else { b"II".to_vec() };
        file.extend(self.number(if self.big { 43 } else { 42 }, 2));
        if self.big {
            file.extend(self.number(8, 2));
            file.extend(self.number(0, 2));
        }
        file.extend(self.number(directory_at as u64, field));
        let pixels = self.chunks.concat();
        match self.place {
            Place::First => file.extend([directory, lists, pixels].concat()),
            Place::Middle => file.extend([pixels, directory, lists].concat()),
            Place::Last => file.extend([pixels, lists, directory].concat()),
        }
        file
    }
}

/// Samples of so many bits, one after the other; whole bytes in the byte order, others from the most significant bit.
pub(crate) fn pack(values: &[u64], bits: usize, big_endian: bool) -> Vec<u8> {
    if bits.is_multiple_of(8) {
        let size = bits / 8;
        return values
            .iter()
            .flat_map(|value| {
                let mut bytes = value.to_be_bytes()[8 - size..].to_vec();
                if !big_endian {
                    bytes.reverse();
                }
                bytes
            })
            .collect();
    }
    let mut bytes = vec![0; (values.len() * bits).div_ceil(8)];
    for (index, value) in values.iter().enumerate() {
        for bit in 0..bits {
            if value >> (bits - 1 - bit) & 1 == 1 {
                let at = index * bits + bit;
                bytes[at / 8] |= 0x80 >> (at % 8);
            }
        }
    }
    bytes
}

/// TIFF's LZW.
pub(crate) fn lzw(bytes: &[u8]) -> Vec<u8> {
    weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8).encode(bytes).unwrap_or_default()
}

/// zlib.
pub(crate) fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap_or_default()
}

/// `PackBits`: a run of four, a code that does nothing, and literals.
pub(crate) fn pack_bits(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for group in bytes.chunks(4) {
        if group.len() == 4 && group.iter().all(|byte| *byte == group[0]) {
            out.extend([253, group[0]]);
        } else {
            out.push(128);
            out.push(group.len() as u8 - 1);
            out.extend(group);
        }
    }
    out
}

/// A BMP to be.
#[derive(Debug, Clone)]
pub(crate) struct Bmp {
    /// Length of the second header.
    pub(crate) header: u32,
    pub(crate) width: i32,
    pub(crate) height: i32,
    pub(crate) bits: u16,
    pub(crate) compression: u32,
    /// Written where the header has them, or behind one of 40 bytes.
    pub(crate) masks: Vec<u32>,
    /// Blue, green, red.
    pub(crate) palette: Vec<[u8; 3]>,
    pub(crate) pixels: Vec<u8>,
    /// Put behind the pixels and named in a header of 124 bytes.
    pub(crate) profile: Vec<u8>,
}

impl Bmp {
    pub(crate) fn new(width: i32, height: i32, bits: u16, pixels: impl Into<Vec<u8>>) -> Self {
        let pixels = pixels.into();
        let (masks, palette, profile) = (Vec::new(), Vec::new(), Vec::new());
        Self { header: 40, width, height, bits, compression: 0, masks, palette, pixels, profile }
    }

    /// The file.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut second = self.header.to_le_bytes().to_vec();
        if self.header == 12 {
            second.extend((self.width as u16).to_le_bytes());
            second.extend((self.height as u16).to_le_bytes());
            second.extend(1_u16.to_le_bytes());
            second.extend(self.bits.to_le_bytes());
        } else {
            second.extend(self.width.to_le_bytes());
            second.extend(self.height.to_le_bytes());
            second.extend(1_u16.to_le_bytes());
            second.extend(self.bits.to_le_bytes());
            second.extend(self.compression.to_le_bytes());
            second.extend([0; 12]);
            second.extend((self.palette.len() as u32).to_le_bytes());
            second.extend([0; 4]);
        }
        second.truncate(self.header as usize);
        second.extend(self.masks.iter().flat_map(|mask| mask.to_le_bytes()));
        let masked = if self.header == 40 { second.len() } else { self.header as usize };
        second.resize(masked, 0);
        let palette: Vec<u8> = self
            .palette
            .iter()
            .flat_map(
                |color| if self.header == 12 { color.to_vec() } else { [color.as_slice(), &[0]].concat() },
            )
            .collect();
        let offset = 14 + second.len() + palette.len();
        if self.header == 124 && !self.profile.is_empty() {
            second[56..60].copy_from_slice(b"DEBM");
            let at = (offset + self.pixels.len() - 14) as u32;
            second[112..116].copy_from_slice(&at.to_le_bytes());
            second[116..120].copy_from_slice(&(self.profile.len() as u32).to_le_bytes());
        }
        let length = offset + self.pixels.len() + self.profile.len();
        let mut file = b"BM".to_vec();
        file.extend((length as u32).to_le_bytes());
        file.extend([0; 4]);
        file.extend((offset as u32).to_le_bytes());
        [file, second, palette, self.pixels.clone(), self.profile.clone()].concat()
    }
}
