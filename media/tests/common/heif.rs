//! HEIF files made box by box, around pictures of any codec.
#![allow(clippy::unwrap_used, reason = "in a test, what is missing should panic")]
#![allow(dead_code, reason = "each test binary uses its own part")]

use heifer_hevc_enc::encoder::{EncoderConfig, Planes16, encode_picture16};

/// A box: its size, its kind, what it holds.
pub(crate) fn boxed(kind: [u8; 4], content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32 + 8).to_be_bytes(), kind.as_slice(), content].concat()
}

/// A box that begins with a version and flags.
pub(crate) fn full(kind: [u8; 4], version: u8, content: &[u8]) -> Vec<u8> {
    boxed(kind, &[&[version, 0, 0, 0], content].concat())
}

fn be(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

pub(crate) fn ispe(width: u32, height: u32) -> Vec<u8> {
    full(*b"ispe", 0, &be(&[width, height]))
}

/// Counter-clockwise, in quarters.
pub(crate) fn irot(quarters: u8) -> Vec<u8> {
    boxed(*b"irot", &[quarters])
}

/// 0 exchanges top and bottom, 1 left and right.
pub(crate) fn imir(axis: u8) -> Vec<u8> {
    boxed(*b"imir", &[axis])
}

/// Width, height, and how far the centre lies right of the picture's and below it.
pub(crate) fn clap(width: u32, height: u32, right: i32, down: i32) -> Vec<u8> {
    boxed(*b"clap", &be(&[width, 1, height, 1, right as u32, 2, down as u32, 2]))
}

pub(crate) fn nclx(primaries: u16, transfer: u16, matrix: u16, full_range: bool) -> Vec<u8> {
    let codes: Vec<u8> = [primaries, transfer, matrix].iter().flat_map(|code| code.to_be_bytes()).collect();
    boxed(*b"colr", &[b"nclx".as_slice(), &codes, &[u8::from(full_range) << 7]].concat())
}

pub(crate) fn profile(bytes: &[u8]) -> Vec<u8> {
    boxed(*b"colr", &[b"prof", bytes].concat())
}

pub(crate) fn says_alpha() -> Vec<u8> {
    full(*b"auxC", 0, b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0")
}

/// An item: a picture, a grid, metadata.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) id: u16,
    pub(crate) kind: [u8; 4],
    pub(crate) data: Vec<u8>,
    /// Whole boxes.
    pub(crate) properties: Vec<Vec<u8>>,
}

/// A file.
#[derive(Debug, Clone)]
pub(crate) struct HeifFile {
    pub(crate) brand: [u8; 4],
    pub(crate) primary: u16,
    pub(crate) items: Vec<Item>,
    /// Kind, from, to.
    pub(crate) references: Vec<([u8; 4], u16, Vec<u16>)>,
    /// Put before the directory's own boxes, and behind them.
    pub(crate) more: Vec<u8>,
    /// Added to the offset of every item.
    pub(crate) shift: u64,
}

impl HeifFile {
    pub(crate) fn of(brand: [u8; 4], picture: Item) -> Self {
        let primary = picture.id;
        Self { brand, primary, items: vec![picture], references: Vec::new(), more: Vec::new(), shift: 0 }
    }

    /// The same picture with other properties behind its own.
    pub(crate) fn with(&self, properties: &[Vec<u8>]) -> Vec<u8> {
        let mut other = self.clone();
        other.items[0].properties.extend_from_slice(properties);
        other.bytes()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let head = boxed(*b"ftyp", &[self.brand.as_slice(), &[0; 4], b"mif1miaf", &self.brand].concat());
        // Offsets have a fixed width, so the directory is as long with the right ones as without.
        let unplaced = self.directory(0);
        let directory = self.directory((head.len() + unplaced.len() + 8) as u64);
        let data: Vec<u8> = self.items.iter().flat_map(|item| item.data.clone()).collect();
        [head, directory, boxed(*b"mdat", &data)].concat()
    }

    fn directory(&self, data_at: u64) -> Vec<u8> {
        let (mut infos, mut places) = (Vec::new(), Vec::new());
        let (mut properties, mut associations) = (Vec::<Vec<u8>>::new(), Vec::new());
        let mut at = data_at.wrapping_add(self.shift);
        for item in &self.items {
            infos.extend(full(
                *b"infe",
                2,
                &[&item.id.to_be_bytes(), [0; 2].as_slice(), &item.kind, &[0]].concat(),
            ));
            places.extend(item.id.to_be_bytes());
            places.extend([0, 0, 0, 1]);
            places.extend(at.to_be_bytes());
            places.extend((item.data.len() as u64).to_be_bytes());
            at = at.wrapping_add(item.data.len() as u64);
            associations.extend(item.id.to_be_bytes());
            associations.push(item.properties.len() as u8);
            for content in &item.properties {
                let known = properties.iter().position(|property| property == content);
                let index = known.unwrap_or(properties.len());
                if known.is_none() {
                    properties.push(content.clone());
                }
                associations.push(index as u8 + 1);
            }
        }
        let count = self.items.len() as u16;
        let mut references = Vec::new();
        for (kind, from, to) in &self.references {
            let numbers: Vec<u8> = [&[*from, to.len() as u16], to.as_slice()]
                .concat()
                .iter()
                .flat_map(|number| number.to_be_bytes())
                .collect();
            references.extend(boxed(*kind, &numbers));
        }
        let tables = [
            full(*b"hdlr", 0, b"\0\0\0\0pict\0\0\0\0\0\0\0\0\0\0\0\0\0"),
            self.more.clone(),
            full(*b"pitm", 0, &self.primary.to_be_bytes()),
            full(*b"iinf", 0, &[count.to_be_bytes().as_slice(), &infos].concat()),
            full(*b"iloc", 0, &[[0x88, 0].as_slice(), &count.to_be_bytes(), &places].concat()),
            full(*b"iref", 0, &references),
            boxed(
                *b"iprp",
                &[
                    boxed(*b"ipco", &properties.concat()),
                    full(*b"ipma", 0, &[&u32::from(count).to_be_bytes(), associations.as_slice()].concat()),
                ]
                .concat(),
            ),
        ];
        full(*b"meta", 0, &tables.concat())
    }
}

/// A grid and its parts, the grid first.
pub(crate) fn grid(brand: [u8; 4], columns: u8, size: (u32, u32), parts: Vec<Item>) -> HeifFile {
    let rows = (parts.len() / usize::from(columns)) as u8;
    let mut descriptor = vec![0, 1, rows - 1, columns - 1];
    descriptor.extend(be(&[size.0, size.1]));
    let whole = Item { id: 1_000, kind: *b"grid", data: descriptor, properties: vec![ispe(size.0, size.1)] };
    let to = parts.iter().map(|part| part.id).collect();
    let mut file = HeifFile::of(brand, whole);
    file.items.extend(parts);
    file.references.push((*b"dimg", 1_000, to));
    file
}

/// An AVIF of RGB pixels, and the same as an item. `depth` is 8 or 10.
pub(crate) fn avif(id: u16, (width, height): (u32, u32), pixels: &[u8], depth: u8) -> (Vec<u8>, Item) {
    let pixels: Vec<ravif::RGB8> =
        pixels.as_chunks::<3>().0.iter().map(|[r, g, b]| ravif::RGB8::new(*r, *g, *b)).collect();
    let bits = if depth == 8 { ravif::BitDepth::Eight } else { ravif::BitDepth::Ten };
    let encoder = ravif::Encoder::new()
        .with_quality(97.0)
        .with_speed(10)
        .with_bit_depth(bits)
        .with_num_threads(Some(1));
    let image = ravif::Img::new(pixels.as_slice(), width as usize, height as usize);
    let file = encoder.encode_rgb(image).unwrap().avif_file;
    let data = file[file.len() - av1_bytes(&file)..].to_vec();
    // Profile 1 (4:4:4), level 0, and bits per sample.
    let flags = if depth == 8 { 0x00 } else { 0x40 };
    let configuration = boxed(*b"av1C", &[0x81, 0x20, flags, 0]);
    let properties = vec![ispe(width, height), configuration, nclx(1, 13, 6, true)];
    (file, Item { id, kind: *b"av01", data, properties })
}

/// The data is the last thing in the files that ravif writes.
fn av1_bytes(file: &[u8]) -> usize {
    let at = file.windows(4).position(|window| window == b"mdat").unwrap();
    file.len() - at - 4
}

/// A HEVC picture of one colour, full-range luma and chroma at half its size, as an item. Width and height are even.
pub(crate) fn hevc(id: u16, (width, height): (u32, u32), color: [u8; 3]) -> Item {
    let pixels = (width * height) as usize;
    hevc_planes(
        id,
        (width, height),
        &vec![color[0]; pixels],
        &vec![color[1]; pixels / 4],
        &vec![color[2]; pixels / 4],
    )
}

/// The same of whole planes.
pub(crate) fn hevc_planes(id: u16, size: (u32, u32), luma: &[u8], blue: &[u8], red: &[u8]) -> Item {
    hevc_coded(id, size, luma, Some((blue, red)), 8)
}

/// The same of 8 to 10 bits, of which the samples that are given are the highest 8; gray without chroma.
pub(crate) fn hevc_coded(
    id: u16,
    (width, height): (u32, u32),
    luma: &[u8],
    chroma: Option<(&[u8], &[u8])>,
    depth: u8,
) -> Item {
    let words = |samples: &[u8]| -> Vec<u16> {
        samples.iter().map(|sample| u16::from(*sample) << (depth - 8)).collect()
    };
    let (luma, chroma) = (words(luma), chroma.map(|(blue, red)| (words(blue), words(red))));
    let planes = Planes16 {
        y: &luma,
        chroma: chroma.as_ref().map(|(blue, red)| (blue.as_slice(), red.as_slice())),
        bit_depth: depth,
    };
    let config = EncoderConfig { qp: 10, full_range: true, ..EncoderConfig::default() };
    let picture = encode_picture16(width, height, planes, &config).unwrap();
    let mut configuration = vec![0; 21];
    (configuration[0], configuration[1]) = (1, picture.profile_idc);
    configuration[16] = 0xFC | picture.chroma_format;
    configuration[17] = 0xF8 | (depth - 8);
    configuration[18] = 0xF8 | (depth - 8);
    // Lengths of four bytes.
    configuration.extend([0x03, picture.parameter_sets.len() as u8]);
    for set in &picture.parameter_sets {
        configuration.extend([set[0] >> 1, 0, 1]);
        configuration.extend((set.len() as u16).to_be_bytes());
        configuration.extend_from_slice(set);
    }
    let mut data = Vec::new();
    for slice in &picture.slices {
        data.extend((slice.len() as u32).to_be_bytes());
        data.extend_from_slice(slice);
    }
    let properties = vec![ispe(width, height), boxed(*b"hvcC", &configuration), nclx(1, 13, 6, true)];
    Item { id, kind: *b"hvc1", data, properties }
}
