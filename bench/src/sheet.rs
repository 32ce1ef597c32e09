//! `darkroom-bench sheet`: a page that shows every variant beside its original, for eyes.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use crate::engine::{Engine, Preset, Rendered, SourceFormat, StepTimes, Variant, default_ladders, kind};
use crate::folder::Photo;
use crate::placeholder::Placeholder;
use crate::samples::photos;

/// Where to write, and of what.
#[derive(Debug, Args)]
pub(crate) struct SheetArgs {
    /// The folder to write `index.html` and its images to; made if it is missing.
    folder: PathBuf,
    /// A folder of photos. Without it, three generated ones are shown.
    #[arg(long)]
    photos: Option<PathBuf>,
}

/// Renders every photo in the default ladder and writes the page. A photo that fails is shown with its reason.
pub(crate) fn run(args: &SheetArgs) -> anyhow::Result<()> {
    let shown = args.folder.display();
    fs::create_dir_all(&args.folder).with_context(|| format!("cannot make the folder {shown}"))?;
    let photos = photos(args.photos.as_deref())?;
    let ladders: Vec<Preset> = default_ladders().concat();
    let mut engine = Engine::default();
    let mut body = String::new();
    for (index, photo) in photos.iter().enumerate() {
        body.push_str(&section(&args.folder, index + 1, photo, &ladders, &mut engine)?);
    }
    let path = args.folder.join("index.html");
    fs::write(&path, page(photos.len(), &body))
        .with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("{} photos, in {}", photos.len(), path.display());
    Ok(())
}

/// Writes the images of one photo, and gives its part of the page.
fn section(
    folder: &Path,
    number: usize,
    photo: &Photo,
    ladders: &[Preset],
    engine: &mut Engine,
) -> anyhow::Result<String> {
    let mut html = format!("<section>\n<h2>{}</h2>\n", escaped(&photo.name));
    let rendered = match engine.probe_decode_render(&photo.bytes, ladders) {
        Ok(rendered) => rendered,
        Err(error) => {
            let reason = escaped(&error.to_string());
            writeln!(html, "<p class=\"failed\">It could not be rendered: {reason}</p>\n</section>")?;
            return Ok(html);
        }
    };
    html.push_str(&facts(photo, &rendered));
    html.push_str("<div class=\"row\">\n");
    html.push_str(&original(folder, number, photo)?);
    html.push_str(&looks(folder, number, &rendered)?);
    for (variant, times) in &rendered.variants {
        html.push_str(&figure(folder, number, variant, *times)?);
    }
    html.push_str("</div>\n</section>\n");
    Ok(html)
}

/// What the photo is, and what the steps before the variants took.
fn facts(photo: &Photo, rendered: &Rendered) -> String {
    let probed = &rendered.probed;
    let (width, height) = probed.shown_size();
    format!(
        "<p>{} · {width}×{height} · EXIF orientation {} · {} · probed in {} · decoded in {}</p>\n",
        escaped(&kind(probed)),
        probed.orientation.exif(),
        size(photo.bytes.len()),
        ms(rendered.probe),
        ms(rendered.decode),
    )
}

/// The placeholders as pictures, the dominant colour, and the perceptual hash.
fn looks(folder: &Path, number: usize, rendered: &Rendered) -> anyhow::Result<String> {
    let looks = &rendered.looks;
    let thumbhash = Placeholder::of_thumbhash(&looks.thumbhash);
    let blurhash = Placeholder::of_blurhash(&looks.blurhash, rendered.probed.shown_size());
    let mut html = String::new();
    for (kind, hash, decoded) in
        [("ThumbHash", &looks.thumbhash, thumbhash), ("BlurHash", &looks.blurhash, blurhash)]
    {
        let hash = escaped(hash);
        match decoded.and_then(|placeholder| placeholder.png()) {
            Ok(png) => {
                let name = format!("photo-{number:03}-{}.png", kind.to_lowercase());
                write(folder, &name, &png)?;
                writeln!(
                    html,
                    "<figure><img class=\"placeholder\" src=\"{name}\" alt=\"{kind}\"><figcaption><b>{kind}</b><br>{hash}\
                     </figcaption></figure>"
                )?;
            }
            Err(error) => {
                let reason = escaped(&format!("{error:#}"));
                writeln!(
                    html,
                    "<figure><figcaption class=\"failed\">{kind} {hash}: {reason}</figcaption></figure>"
                )?;
            }
        }
    }
    let (color, hash) = (escaped(&looks.dominant_color), escaped(&looks.perceptual_hash));
    writeln!(
        html,
        "<figure><div class=\"placeholder color\" style=\"background: {color}\"></div><figcaption><b>dominant colour</b> {color}\
         <br>perceptual hash {hash}</figcaption></figure>"
    )?;
    Ok(html)
}

/// The original as it is, where browsers show such files.
fn original(folder: &Path, number: usize, photo: &Photo) -> anyhow::Result<String> {
    let Some(extension) = browsers_show(photo.format) else {
        let format = escaped(&photo.format.to_string());
        return Ok(format!(
            "<figure><figcaption>The original is {format}, which browsers do not show.</figcaption></figure>\n"
        ));
    };
    let name = format!("photo-{number:03}-original.{extension}");
    write(folder, &name, &photo.bytes)?;
    Ok(format!(
        "<figure><a href=\"{name}\"><img src=\"{name}\" alt=\"The original\" loading=\"lazy\"></a>\
         <figcaption><b>original</b></figcaption></figure>\n"
    ))
}

/// The usual ending of files of a format, if every current browser shows them.
fn browsers_show(format: SourceFormat) -> Option<&'static str> {
    let mime = format.mime();
    [
        ("image/jpeg", "jpg"),
        ("image/png", "png"),
        ("image/gif", "gif"),
        ("image/webp", "webp"),
        ("image/avif", "avif"),
    ]
    .into_iter()
    .find_map(|(shown, extension)| (shown == mime).then_some(extension))
}

fn figure(folder: &Path, number: usize, variant: &Variant, times: StepTimes) -> anyhow::Result<String> {
    // A preset's name is lower-case letters, digits, `-` and `_`, so it is a file's name as it is.
    let name = format!("photo-{number:03}-{}.{}", variant.preset, variant.format.extension());
    write(folder, &name, &variant.bytes)?;
    let (width, height, preset) = (variant.width, variant.height, escaped(&variant.preset));
    Ok(format!(
        "<figure><a href=\"{name}\"><img src=\"{name}\" width=\"{width}\" height=\"{height}\" alt=\"{preset}\" \
         loading=\"lazy\"></a><figcaption><b>{preset}</b> {} {width}×{height} · {}<br>resized in {}, encoded in {}\
         </figcaption></figure>\n",
        escaped(&variant.format.to_string()),
        size(variant.bytes.len()),
        ms(times.resize),
        ms(times.encode),
    ))
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let path = folder.join(name);
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn size(bytes: usize) -> String {
    if bytes < 1_000_000 {
        format!("{:.1} kB", bytes as f64 / 1e3)
    } else {
        format!("{:.2} MB", bytes as f64 / 1e6)
    }
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// Text as it may stand in HTML, between tags and inside double or single quotes.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

const STYLE: &str = "\
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { margin: 2rem; background: Canvas; color: CanvasText; }
section { border-top: 1px solid GrayText; margin-top: 2rem; }
.row { display: flex; flex-wrap: wrap; align-items: flex-start; gap: 1.5rem; }
figure { margin: 0; max-width: 100%; }
img { display: block; max-width: min(100%, 40rem); height: auto; }
figcaption { font-size: .85rem; }
.placeholder { width: 12rem; }
.color { height: 9rem; }
.failed { font-weight: bold; }
";

fn page(photos: usize, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>darkroom: {photos} photos and their variants</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>{photos} photos and their variants</h1>\n\
         <p>Rendered by darkroom {} on one thread. Times of a first run: <code>darkroom-bench codecs</code> measures. \
         An image opens at its full size.</p>\n{body}</body>\n</html>\n",
        env!("CARGO_PKG_VERSION"),
    )
}

#[cfg(test)]
mod tests {
    use darkroom_media::synth::{PhotoSpec, jpeg};

    use super::*;
    use crate::samples::generated;

    #[test]
    fn names_cannot_become_markup() {
        assert_eq!(escaped("a<b>&\"'ü"), "a&lt;b&gt;&amp;&quot;&#39;ü");
        let folder = tempfile::tempdir().unwrap();
        let name = "<script>alert('1')</script>.jpg";
        let photo = generated(name, &PhotoSpec { width: 64, height: 48, ..PhotoSpec::default() });
        let ladders = default_ladders().concat();
        let html = section(folder.path(), 1, &photo, &ladders, &mut Engine::default()).unwrap();
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;.jpg"), "{html}");
    }

    #[test]
    fn the_page_shows_files_that_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let originals = folder.path().join("originals");
        fs::create_dir(&originals).unwrap();
        let spec = PhotoSpec { width: 400, height: 300, ..PhotoSpec::default() };
        fs::write(originals.join("a&b.jpg"), jpeg(&spec)).unwrap();
        let sheet = folder.path().join("new").join("sheet");
        run(&SheetArgs { folder: sheet.clone(), photos: Some(originals) }).unwrap();
        let html = fs::read_to_string(sheet.join("index.html")).unwrap();
        assert!(html.contains("a&amp;b.jpg") && !html.contains("a&b.jpg"));
        let sources: Vec<&str> =
            html.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(sources.len(), 1 + 2 + default_ladders().concat().len(), "{sources:?}");
        assert!(sources.iter().any(|source| source.ends_with("-thumbhash.png")), "{sources:?}");
        assert!(sources.iter().any(|source| source.ends_with("-blurhash.png")), "{sources:?}");
        for source in sources {
            assert!(sheet.join(source).is_file(), "{source} is relative, and there");
        }
        assert!(!html.contains("<script"));
    }

    #[test]
    fn a_photo_that_fails_is_shown_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let mut photo = generated("broken", &PhotoSpec { width: 640, height: 480, ..PhotoSpec::default() });
        let mut bytes = photo.bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 64].fill(0xFF);
        photo.bytes = bytes.into();
        let html =
            section(folder.path(), 1, &photo, &default_ladders().concat(), &mut Engine::default()).unwrap();
        assert!(html.contains("It could not be rendered: "), "{html}");
        assert!(html.contains("</section>") && !html.contains("<img"), "{html}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is written for it");
    }
}
