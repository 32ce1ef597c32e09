use futures_util::stream;

use super::*;
use crate::problem::Problem;

/// A header as POSIX has it.
pub(super) fn header(path: &str, flag: u8, size: u64) -> Block {
    let mut block = [0; BLOCK];
    block[..path.len()].copy_from_slice(path.as_bytes());
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[156] = flag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut block);
    block
}

fn seal(block: &mut Block) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// An entry: its header and its content, filled up.
fn entry(path: &str, flag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = header(path, flag, content.len() as u64).to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

fn end() -> Vec<u8> {
    vec![0; 2 * BLOCK]
}

fn body(bytes: &[u8], piece: usize) -> Body {
    let pieces: Vec<_> = bytes.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces).boxed()
}

/// Path and content of every file, and how it ended.
async fn read(bytes: &[u8], piece: usize) -> (Vec<(String, Vec<u8>)>, Option<TarError>) {
    let (mut entries, mut files) = (Entries::new(body(bytes, piece)), Vec::new());
    loop {
        let entry = match entries.next().await {
            Ok(Some(entry)) => entry,
            Ok(None) => return (files, None),
            Err(error) => return (files, Some(error)),
        };
        let mut content = Vec::new();
        loop {
            match entries.piece().await {
                Ok(Some(piece)) => content.extend_from_slice(&piece),
                Ok(None) => break,
                Err(error) => return (files, Some(error.into())),
            }
        }
        assert_eq!(content.len() as u64, entry.size);
        files.push((entry.path, content));
    }
}

fn file(path: &str, content: &[u8]) -> (String, Vec<u8>) {
    (path.to_owned(), content.to_vec())
}

/// What is wrong with these bytes.
async fn what(parts: &[&[u8]]) -> String {
    read(&parts.concat(), 100).await.1.map(|error| Problem::from(error).detail).unwrap_or_default()
}

#[tokio::test]
async fn files_are_found_among_the_rest_in_whatever_pieces_they_come() {
    let large: Vec<u8> = (0..5000_u32).map(|index| index as u8).collect();
    let archive = [
        entry("pax_global_header", b'g', b"13 comment=a\n"),
        entry("photos/", b'5', b""),
        entry("photos/a.jpg", b'0', &large),
        entry("empty", b'0', b""),
        entry("link", b'2', b""),
        entry("unknown", b'Z', &large),
        entry("././@LongLink", b'L', b"a/rather/long.path\0"),
        entry("a/rather/lo", b'0', b"1"),
        entry("PaxHeaders/x", b'x', b"14 path=a=\nb\n\n"),
        entry("short", 0, &[7; 512]),
        end(),
    ]
    .concat();
    let wanted = [
        file("photos/a.jpg", &large),
        file("empty", b""),
        file("a/rather/long.path", b"1"),
        file("a=\nb\n", &[7; 512]),
    ];
    for piece in [1, 7, 511, 512, 513, 100_000] {
        let (files, error) = read(&archive, piece).await;
        assert_eq!(files, wanted, "pieces of {piece}");
        assert!(error.is_none(), "{error:?}");
    }
    let mut entries = Entries::new(body(&archive, 600));
    while entries.next().await.unwrap().is_some() {}
    assert_eq!(entries.others(), 3);
}

/// What of a long path has room in the header itself ends in a slash where its 100th byte is one.
#[tokio::test]
async fn a_file_is_no_directory_for_where_its_path_is_cut() {
    let long = format!("{}/photo.jpg", "d".repeat(99));
    let cut = &long[..100];
    let x = format!("path={long}\n");
    let x = format!("{} {x}", x.len() + 4);
    let archive = [
        entry("././@LongLink", b'L', format!("{long}\0").as_bytes()),
        entry(cut, b'0', b"1"),
        entry("././@LongLink", b'L', format!("{long}\0").as_bytes()),
        entry(cut, 0, b"2"),
        entry("x", b'x', x.as_bytes()),
        entry(cut, b'0', b"3"),
        // Directories of old archives, and of newer ones that store them as files.
        entry("photos/", 0, b""),
        entry("photos/", b'0', b""),
        entry("././@LongLink", b'L', format!("{}/\0", "d".repeat(120)).as_bytes()),
        entry("d", 0, b""),
        entry("odd/", b'0', b"4"),
        end(),
    ]
    .concat();
    let mut entries = Entries::new(body(&archive, 512));
    let mut found = Vec::new();
    while let Some(entry) = entries.next().await.unwrap() {
        found.push((entry.path, entries.piece().await.unwrap().unwrap()));
    }
    let wanted = [(&*long, "1"), (&*long, "2"), (&*long, "3"), ("odd/", "4")];
    assert_eq!(found, wanted.map(|(path, content)| (path.to_owned(), Bytes::from(content))));
    assert_eq!(entries.others(), 3);
}

/// A hard link has content in pax alone. Elsewhere its size is that of the file that it is a name of.
#[tokio::test]
async fn a_hard_link_may_have_the_content_once_more() {
    let (a, link, after) = (entry("a", b'0', b"1"), entry("b", b'1', b"1"), entry("after", b'0', b"2"));
    let wanted = [file("a", b"1"), file("after", b"2")];
    let pax = [&entry("g", b'g', b"13 comment=a\n")[..], &a, &link, &after, &end()].concat();
    assert_eq!(read(&pax, 512).await.0, wanted);
    let old = [&a[..], &header("b", b'1', 1), &after, &end()].concat();
    let (files, error) = read(&old, 512).await;
    assert_eq!(files, wanted);
    assert!(error.is_none(), "{error:?}");
}

#[tokio::test]
async fn a_prefix_is_a_part_of_the_path_in_posix_alone() {
    let mut posix = header("c.jpg", b'0', 0);
    posix[345..348].copy_from_slice(b"a/b");
    seal(&mut posix);
    let mut gnu = posix;
    gnu[257..265].copy_from_slice(b"ustar  \0");
    seal(&mut gnu);
    let (files, _) = read(&[&posix[..], &gnu, &end()].concat(), 512).await;
    assert_eq!(files, [file("a/b/c.jpg", b""), file("c.jpg", b"")]);
}

/// CVE-2025-62518: a size in the extended header and none in the header itself.
#[tokio::test]
async fn there_is_one_size_which_the_next_header_follows_too() {
    let hidden = entry("hidden", b'0', b"content of a file inside an archive inside an archive");
    let size = hidden.len();
    let (x, mut short) = (format!("13 size={size}\n"), header("inner.tar", b'0', 0).to_vec());
    short.extend_from_slice(&hidden);
    let archive = [entry("x", b'x', x.as_bytes()), short, entry("after", b'0', b"!"), end()].concat();
    let (files, error) = read(&archive, 512).await;
    assert_eq!(files, [file("inner.tar", &hidden), file("after", b"!")]);
    assert!(error.is_none());
    // The same where the entry is one that is passed over.
    let mut unknown = header("unknown", b'Z', 0).to_vec();
    unknown.extend_from_slice(&hidden);
    let archive = [entry("x", b'x', x.as_bytes()), unknown, entry("after", b'0', b"!"), end()].concat();
    assert_eq!(read(&archive, 512).await.0, [file("after", b"!")]);
}

#[tokio::test]
async fn sizes_in_base_256_are_read_and_impossible_ones_refused() {
    let mut large = header("large", b'0', 0);
    large[124..136].copy_from_slice(b"\x80\0\0\0\0\0\0\x02\0\0\0\0");
    seal(&mut large);
    let entry = Entries::new(body(&large, 512)).next().await.unwrap().unwrap();
    assert_eq!(entry.size, 2 << 32);
    large[124..136].copy_from_slice(b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
    seal(&mut large);
    assert!(what(&[&large]).await.contains("impossible size"));
}

#[tokio::test]
async fn files_with_holes_and_endless_paths_are_told_and_passed_over() {
    let mut sparse = header("old", b'S', 3);
    sparse[482] = 1;
    seal(&mut sparse);
    let (mut more, last) = ([0; BLOCK], [0; BLOCK]);
    more[504] = 1;
    let mut content = [0; BLOCK];
    content[..3].copy_from_slice(b"abc");
    let archive = [
        &sparse[..],
        &more,
        &last,
        &content,
        &entry("x", b'x', b"22 GNU.sparse.major=1\n"),
        &entry("new", b'0', b"list and pieces"),
        &entry("l", b'L', &[b'p'; 5000]),
        &entry("p", b'0', b"1"),
        &entry("good", b'0', b"2"),
        &end(),
    ]
    .concat();
    let mut entries = Entries::new(body(&archive, 1000));
    let mut found = Vec::new();
    while let Some(entry) = entries.next().await.unwrap() {
        found.push((entry.path.len(), entry.size, entry.unsupported));
    }
    let holes = Some("is a file with holes");
    let long = Some("has a path of more than 4096 bytes");
    assert_eq!(found, [(3, 3, holes), (3, 15, holes), (200, 1, long), (4, 1, None)]);
}

#[tokio::test]
async fn archives_one_behind_the_other_are_one() {
    let archive = [entry("a", b'0', b"1"), end(), vec![0; 7 * BLOCK], entry("b", b'0', b"2"), end()].concat();
    assert_eq!(read(&archive, 512).await.0, [file("a", b"1"), file("b", b"2")]);
    let (files, error) = read(&[entry("a", b'0', b"1"), vec![0; BLOCK]].concat(), 512).await;
    assert!(files.len() == 1 && error.is_none(), "one block of zeros is enough");
}

#[tokio::test]
async fn damage_says_what_and_where() {
    let a = entry("a", b'0', b"1");
    let cut =
        "at byte 1024 the archive is malformed: it ends without its end mark, so some of it may be missing;";
    assert!(what(&[&a]).await.starts_with(cut), "{}", what(&[&a]).await);
    assert!(what(&[]).await.contains("end mark"));
    assert!(
        what(&[&a, b"garbage"])
            .await
            .contains("at byte 1024 the archive is malformed: it ends inside a block")
    );
    assert!(what(&[&a, &[b'x'; BLOCK]]).await.contains("a header has a wrong checksum"));
    let x = |bytes: &[u8]| entry("x", b'x', bytes);
    assert!(what(&[&x(b"9 size=z\n"), &a]).await.contains("an extended header has a size that is no number"));
    assert!(what(&[&x(b"9 path=z\n"), &end()]).await.contains("an entry is announced and does not come"));
    assert!(what(&[&x(b"9 path=z\n"), &x(b"9 path=z\n"), &a]).await.contains("announced twice"));
    assert!(what(&[&entry("g", b'g', b"9 path=z\n"), &a]).await.contains("the same path"));
    assert!(what(&[&header("x", b'x', 1 << 30)]).await.contains("at most 262144 are read"));
    for (bytes, name) in [(&b"\x1f\x8b\x08"[..], "gzip"), (b"BZh9", "bzip2"), (b"PK\x03\x04", "zip")] {
        assert!(what(&[bytes, &[1; BLOCK]]).await.contains(&format!("the body is compressed with {name:?}")));
    }
}

/// Cut anywhere, an archive gives the files that are whole before the cut, and no others; and it says that it was cut.
#[tokio::test]
async fn a_cut_archive_gives_what_is_whole_before_the_cut() {
    let archive = [
        entry("././@LongLink", b'L', b"a/long.path\0"),
        entry("a", b'0', &[1; 700]),
        entry("x", b'x', b"9 path=b\n"),
        entry("c", b'0', &[2; 3]),
        end(),
    ]
    .concat();
    let whole = [(2048 + 188, file("a/long.path", &[1; 700])), (4096 - 512 + 3 + 512, file("b", &[2; 3]))];
    for cut in 0..archive.len() {
        let (files, error) = read(&archive[..cut], 333).await;
        let wanted: Vec<_> =
            whole.iter().filter(|(at, _)| *at <= cut).map(|(_, file)| file.clone()).collect();
        assert_eq!(files, wanted, "cut at {cut}");
        // The end mark is two blocks, of which one is enough.
        assert_eq!(error.is_none(), cut == archive.len() - BLOCK, "cut at {cut}: {error:?}");
    }
}

/// Whatever comes, it ends, and no file is made of more bytes than there are.
#[tokio::test]
async fn changed_and_random_bytes_end() {
    let archive = [
        entry("././@LongLink", b'L', b"a/long.path\0"),
        entry("a", b'0', &[1; 700]),
        entry("x", b'x', b"9 path=b\n12 size=700\n"),
        entry("c", b'0', &[2; 700]),
        end(),
    ]
    .concat();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move || {
        // Xorshift (Marsaglia 2003): any bytes will do, as long as they are the same next time.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..4000 {
        let mut bytes = archive.clone();
        for _ in 0..=random() % 4 {
            let at = random() as usize % bytes.len();
            bytes[at] = random() as u8;
        }
        if round % 2 == 0 {
            // Behind a right checksum, so that more than that is looked at.
            for at in [0, 1024, 2048 + 512, 3584] {
                if let Some(block) = bytes.get_mut(at..at + BLOCK).and_then(|block| block.first_chunk_mut()) {
                    seal(block);
                }
            }
        }
        let (files, _) = read(&bytes, 1 + random() as usize % 2000).await;
        assert!(files.iter().map(|(_, content)| content.len()).sum::<usize>() <= bytes.len());
        let noise: Vec<u8> = (0..random() % 3000).map(|_| random() as u8).collect();
        assert!(read(&noise, 512).await.0.is_empty());
    }
}
