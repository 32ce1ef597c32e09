//! EXIF blocks for tests, in both byte orders, and with everything that must not be found again.
#![allow(dead_code, reason = "each test uses its own part")]

/// What stands in every value that must not be found again, wherever in a file that is.
pub(crate) const SECRET: &[u8] = b"SECRET";

/// Whether there is a secret anywhere in some bytes.
pub(crate) fn tells_secret(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, SECRET).is_some()
}

/// The value of an entry.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// A text, without its terminator.
    Text(String),
    Short(u16),
    Long(u32),
    Rational(Vec<(u32, u32)>),
    Signed(i32, i32),
    /// Elements of a type, as they are to stand in the block.
    Raw(u16, Vec<u8>),
}

impl Value {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// A secret of a type. Sixteen bytes are whole elements of every type.
    pub(crate) fn secret(kind: u16) -> Self {
        Self::Raw(kind, [SECRET, b"-behind--\0"].concat())
    }
}

/// Tag and value.
pub(crate) type Field = (u16, Value);

/// What a block is built of. Entries of a directory are written in the order in which they stand here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Block {
    pub(crate) big_endian: bool,
    pub(crate) image: Vec<Field>,
    pub(crate) exif: Vec<Field>,
    pub(crate) gps: Vec<Field>,
    /// JPEG data of the second directory.
    pub(crate) thumbnail: Vec<u8>,
}

impl Block {
    fn short(&self, value: u16) -> [u8; 2] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn long(&self, value: u32) -> [u8; 4] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    /// Type, count and bytes of a value.
    fn encoded(&self, value: &Value) -> (u16, u32, Vec<u8>) {
        let size = |kind: u16| match kind {
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 => 8,
            _ => 1,
        };
        match value {
            Value::Text(text) => (2, text.len() as u32 + 1, [text.as_bytes(), b"\0"].concat()),
            Value::Short(number) => (3, 1, self.short(*number).to_vec()),
            Value::Long(number) => (4, 1, self.long(*number).to_vec()),
            Value::Rational(fractions) => {
                let longs = fractions.iter().flat_map(|(num, den)| [self.long(*num), self.long(*den)]);
                (5, fractions.len() as u32, longs.flatten().collect())
            }
            Value::Signed(num, den) => {
                (10, 1, [self.long(num.cast_unsigned()), self.long(den.cast_unsigned())].concat())
            }
            Value::Raw(kind, bytes) => (*kind, bytes.len() as u32 / size(*kind), bytes.clone()),
        }
    }

    /// A directory that is to stand at `at`, and its values behind it.
    fn directory(&self, at: usize, fields: &[Field], next: u32) -> Vec<u8> {
        let mut out = self.short(fields.len() as u16).to_vec();
        let mut values = Vec::new();
        let values_at = at + 6 + fields.len() * 12;
        for (tag, value) in fields {
            let (kind, count, mut bytes) = self.encoded(value);
            out.extend(self.short(*tag));
            out.extend(self.short(kind));
            out.extend(self.long(count));
            if bytes.len() <= 4 {
                bytes.resize(4, 0);
                out.extend(bytes);
            } else {
                out.extend(self.long((values_at + values.len()) as u32));
                values.extend(bytes);
                values.resize(values.len().next_multiple_of(2), 0);
            }
        }
        out.extend(self.long(next));
        out.extend(values);
        out
    }

    /// The block from its TIFF header on: GPS, EXIF and second directory, and last the first, which points to them.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut out = if self.big_endian { b"MM\0*\0\0\0\0".to_vec() } else { b"II*\0\0\0\0\0".to_vec() };
        let mut image = self.image.clone();
        for (pointer, fields) in [(0x8825, &self.gps), (0x8769, &self.exif)] {
            if !fields.is_empty() {
                image.push((pointer, Value::Long(out.len() as u32)));
                let directory = self.directory(out.len(), fields, 0);
                out.extend(directory);
            }
        }
        let mut second = 0;
        if !self.thumbnail.is_empty() {
            let thumbnail_at = out.len() as u32;
            out.extend(&self.thumbnail);
            out.resize(out.len().next_multiple_of(2), 0);
            second = out.len() as u32;
            let fields =
                [(0x0201, Value::Long(thumbnail_at)), (0x0202, Value::Long(self.thumbnail.len() as u32))];
            let directory = self.directory(out.len(), &fields, 0);
            out.extend(directory);
        }
        let first = self.long(out.len() as u32);
        out[4..8].copy_from_slice(&first);
        let directory = self.directory(out.len(), &image, second);
        out.extend(directory);
        out
    }
}

/// The same in the order in which TIFFs are written: the first directory, its values, the EXIF directory, its values.
pub(crate) fn forward(block: &Block) -> Vec<u8> {
    let first = |exif_at: u32| {
        let image = [block.image.clone(), vec![(0x8769, Value::Long(exif_at))]].concat();
        block.directory(8, &image, 0)
    };
    let exif_at = 8 + first(0).len();
    let mark = if block.big_endian { b"MM\0*" } else { b"II*\0" };
    [mark.as_slice(), &block.long(8), &first(exif_at as u32), &block.directory(exif_at, &block.exif, 0)]
        .concat()
}

/// A TIFF of 8 × 4 gray pixels without compression, with a block's entries beside its own. `build` makes a file of them,
/// which the pixels follow.
pub(crate) fn tiff_of(block: &Block, build: fn(&Block) -> Vec<u8>) -> Vec<u8> {
    let with = |at: u32| {
        let mut image = vec![(256, Value::Short(8)), (257, Value::Short(4))];
        image.extend([(258, 8), (259, 1), (262, 1), (277, 1), (278, 4)].map(|(t, v)| (t, Value::Short(v))));
        image.extend([(273, Value::Long(at)), (279, Value::Long(32))]);
        image.extend(block.image.clone());
        build(&Block { image, ..block.clone() })
    };
    let at = with(0).len() as u32;
    [with(at), (0..32).map(|pixel| pixel * 7).collect()].concat()
}

/// What a camera writes, with a secret in everything that tells place, owner or serial number, and in what may.
pub(crate) fn camera(big_endian: bool) -> Block {
    let text = |tag, text| (tag, Value::text(text));
    let mut image = vec![
        text(0x010E, "A boat"),
        text(0x010F, "Canon"),
        text(0x0110, "EOS R5 "),
        (0x0112, Value::Short(6)),
        (0x011A, Value::Rational(vec![(72, 1)])),
        (0x011B, Value::Rational(vec![(72, 1)])),
        text(0x0131, "Firmware 1.8.1"),
        text(0x0132, "2024:05:02 10:00:00"),
        text(0x013B, "Ada L."),
        (0x8298, Value::text("Ada\0Editor")),
    ];
    // ProcessingSoftware, strips, HostComputer, sub-directories, XMP, IPTC, Photoshop, Windows's texts, serial numbers and
    // private data of DNG, PrintIM, tags of GDI+, GeoTIFF, and one that nobody knows.
    let hidden = [
        (0x000B, 2),
        (0x0111, 4),
        (0x013C, 2),
        (0x014A, 13),
        (0x02BC, 1),
        (0x83BB, 7),
        (0x8649, 1),
        (0x9C9B, 1),
        (0x9C9D, 1),
        (0x9C9E, 1),
        (0xC62F, 2),
        (0xC634, 1),
        (0xC65D, 1),
        (0xC4A5, 7),
        (0x501B, 1),
        (0x87B1, 2),
        (0xEA1C, 7),
        (0xFDE8, 2),
    ];
    image.extend(hidden.map(|(tag, kind)| (tag, Value::secret(kind))));
    let mut exif = vec![
        (0x829A, Value::Rational(vec![(10, 1250)])),
        (0x829D, Value::Rational(vec![(28, 10)])),
        (0x8827, Value::Short(400)),
        (0x9000, Value::Raw(7, b"0232".to_vec())),
        text(0x9003, "2024:05:01 18:03:59"),
        text(0x9011, "+02:00"),
        (0x9204, Value::Signed(-1, 3)),
        (0x9207, Value::Short(5)),
        (0x9209, Value::Short(0x19)),
        (0x920A, Value::Rational(vec![(4250, 1000)])),
        text(0x9291, "07"),
        (0xA001, Value::Short(1)),
        (0xA002, Value::Long(8192)),
        (0xA003, Value::Long(5464)),
        (0xA403, Value::Short(0)),
        (0xA405, Value::Short(26)),
        (0xA432, Value::Rational(vec![(24, 1), (70, 1), (28, 10), (28, 10)])),
        text(0xA433, "Canon"),
        text(0xA434, "RF24-70mm F2.8 L IS USM"),
    ];
    // Maker note, user comment, pressure, sound file, device settings, unique id, owner, serial numbers, editor.
    let hidden = [
        (0x927C, 7),
        (0x9286, 7),
        (0x9402, 5),
        (0xA004, 2),
        (0xA40B, 7),
        (0xA420, 2),
        (0xA430, 2),
        (0xA431, 2),
        (0xA435, 2),
        (0xA438, 2),
        (0xFDEA, 2),
    ];
    exif.extend(hidden.map(|(tag, kind)| (tag, Value::secret(kind))));
    let gps = [(1, 2), (2, 5), (3, 2), (4, 5), (0x1B, 7), (0x1D, 2)];
    let gps = gps.map(|(tag, kind)| (tag, Value::secret(kind))).to_vec();
    Block { big_endian, image, exif, gps, thumbnail: [b"\xFF\xD8".as_slice(), SECRET, b"\xFF\xD9"].concat() }
}

/// The fields that another reader finds, as `tag: value`, those of the first two directories in their order.
pub(crate) fn fields(block: &[u8]) -> Vec<(u16, String)> {
    let exif = exif::Reader::new().read_raw(block.to_vec()).unwrap();
    exif.fields()
        .map(|field| {
            assert_eq!(field.ifd_num, exif::In::PRIMARY);
            assert_ne!(field.tag.context(), exif::Context::Gps);
            (field.tag.number(), field.display_value().to_string())
        })
        .collect()
}
