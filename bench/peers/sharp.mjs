// The sides `sharp-expert` and `sharp-clone` of `darkroom-bench peers`, which writes this file beside its node_modules.
//
// The first line of standard input is the job, as JSON. With a `folder` the first photo's variants are written there, and the
// mean of the variants' bytes is told; without one, the rate is measured. One line of JSON goes to standard output.
// Standard input stays open as long as the caller lives: its end is the end of this process, whatever it is doing.

import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import sharp from 'sharp';

// What most people write: every variant from the original, all at once, with the library's defaults.
async function clone(photo, job) {
  const source = sharp(photo).rotate();
  return Promise.all(job.variants.map((variant) =>
    encode(resize(source.clone(), variant), job).toBuffer()));
}

// What an expert writes for speed: the original is decoded once (with shrink-on-load, which sharp finds by itself when it
// is asked to resize), and each variant is made from the raw pixels of the next larger one. One step after the other in
// each lane: with several lanes the cores are full anyway, and fewer pixels are alive at once.
async function cascade(photo, job) {
  let source = sharp(photo).autoOrient();
  if (job.variants.length === 1) {
    return [await encode(resize(source, job.variants[0]), job).toBuffer()];
  }
  const files = [];
  for (const variant of job.variants) {
    const { data, info } = await resize(source, variant).raw().toBuffer({ resolveWithObject: true });
    const raw = { width: info.width, height: info.height, channels: info.channels };
    files.push(await encode(sharp(data, { raw }), job).toBuffer());
    source = sharp(data, { raw });
  }
  return files;
}

function resize(image, { width, height, fit }) {
  return image.resize(width, height, { fit, withoutEnlargement: true });
}

function encode(image, { format, quality, effort, optimise, way }) {
  if (format === 'webp') {
    return way === 'clone' ? image.webp({ quality }) : image.webp({ quality, effort });
  }
  return way === 'clone' ? image.jpeg({ quality }) : image.jpeg({ quality, optimiseCoding: optimise });
}

// Every lane works without a pause from the beginning until the last lane has its figure, so that none is measured while
// another has left it the cores. A lane's time runs from one of its completions to another. The lanes share a thread pool,
// so the processor's time is that of all photos, from before the first of them was begun until none is under way.
async function measure(photos, { lanes, seconds }, make) {
  let begun = 0;
  let measured = 0;
  const one = () => make(photos[begun++ % photos.length]);
  await Promise.all(Array.from({ length: lanes }, one));
  const warm = begun;
  const begin = performance.now();
  const cpu = process.cpuUsage();
  const lane = async () => {
    await one();
    const since = performance.now();
    let done = 0;
    do {
      await one();
      done += 1;
    } while (performance.now() - begin < seconds * 1e3);
    const rate = done * 1e3 / (performance.now() - since);
    measured += 1;
    while (measured < lanes) await one();
    return rate;
  };
  const rates = await Promise.all(Array.from({ length: lanes }, lane));
  const used = process.cpuUsage(cpu);
  return {
    photos_per_second: rates.reduce((sum, rate) => sum + rate, 0),
    cpu_ms_per_photo: (used.user + used.system) / 1e3 / (begun - warm),
  };
}

async function keep(photos, { folder, variants }, make) {
  let bytes = 0;
  for (const [index, photo] of photos.entries()) {
    const files = await make(photo);
    bytes += files.reduce((sum, file) => sum + file.length, 0);
    if (index === 0) {
      await Promise.all(files.map((file, at) => writeFile(path.join(folder, variants[at].file), file)));
    }
  }
  return { bytes: bytes / photos.length };
}

async function work(job) {
  if (job.way === 'cascade') {
    // One thread for each photo: several photos in flight keep the cores busy at less cost than threads within one.
    sharp.concurrency(1);
    sharp.cache(false);
  }
  const photos = await Promise.all(job.photos.map((file) => readFile(file)));
  const way = job.way === 'cascade' ? cascade : clone;
  const make = (photo) => way(photo, job);
  const { vips, mozjpeg, webp } = sharp.versions;
  return {
    versions: `sharp ${sharp.versions.sharp}, libvips ${vips}, mozjpeg ${mozjpeg}, libwebp ${webp}, node ${process.versions.node}`,
    ...(job.folder ? await keep(photos, job, make) : await measure(photos, job, make)),
  };
}

const lines = createInterface({ input: process.stdin });
lines.once('line', async (line) => {
  const answer = await work(JSON.parse(line));
  process.stdout.write(`${JSON.stringify(answer)}\n`, () => process.exit(0));
});
lines.once('close', () => process.exit(1));
