// The sides `sharp-expert` and `sharp-clone` of `darkroom-bench peers`, which writes this file beside its node_modules.
//
// The first line of standard input is the job, as JSON. With a `folder` the variants of the first photos are written there, and
// the mean of the variants' bytes is told; without one, the rate is measured. One line of JSON goes to standard output; a
// failure is one sentence on standard error. Standard input stays open as long as the caller lives: its end is the end of this
// process, whatever it is doing.

import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';

// Imported when the job is known, so that a missing library is a sentence as well.
let sharp;

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
  const settings = { quality, optimiseCoding: optimise, chromaSubsampling: '4:2:0' };
  return way === 'clone' ? image.jpeg({ quality }) : image.jpeg(settings);
}

// The lanes take the photos from one counter, round and round, and work without a pause until the turn is over. The window that
// is measured begins with the completion that makes every lane warm, and ends with the first one, at or after the time asked
// for, that makes the completions in between whole passes over the photos: so each photo counts as often as any other. A lane's
// own part of the window runs from one of its completions to another, and it has at least one. The lanes share a thread pool, so
// the processor's time is that of the process: between the window's ends, at which the same photos are under way.
async function measure(photos, { lanes, seconds }, make) {
  const now = Array.from({ length: lanes }, () => ({ done: 0, at: 0 }));
  const snapshot = () => ({ at: performance.now(), cpu: process.cpuUsage(), lanes: now.map((lane) => ({ ...lane })) });
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  let taken = 0;
  let begin;
  let end;
  const completed = (lane) => {
    lane.done += 1;
    lane.at = performance.now();
    if (end) return;
    if (!begin) {
      if (now.every(({ done }) => done > 0)) begin = snapshot();
      return;
    }
    const done = now.map((each, index) => each.done - begin.lanes[index].done);
    const whole = done.every((count) => count > 0) && sum(done) % photos.length === 0;
    if (whole && lane.at - begin.at >= seconds * 1e3) end = snapshot();
  };
  await Promise.all(now.map(async (lane) => {
    while (!end) {
      await make(photos[taken++ % photos.length]);
      completed(lane);
    }
  }));
  const spans = end.lanes.map((lane, index) => {
    const from = begin.lanes[index];
    return { done: lane.done - from.done, seconds: (lane.at - from.at) / 1e3 };
  });
  const cpu = end.cpu.user + end.cpu.system - begin.cpu.user - begin.cpu.system;
  return {
    photos_per_second: sum(spans.map((span) => span.done / span.seconds)),
    cpu_ms_per_photo: cpu / 1e3 / sum(spans.map((span) => span.done)),
  };
}

async function keep(photos, { folder, kept, variants }, make) {
  let bytes = 0;
  for (const [index, photo] of photos.entries()) {
    const files = await make(photo);
    bytes += files.reduce((sum, file) => sum + file.length, 0);
    if (index < kept) {
      const file = (at) => path.join(folder, `${index}-${variants[at].file}`);
      await Promise.all(files.map((data, at) => writeFile(file(at), data)));
    }
  }
  return { bytes: bytes / photos.length };
}

async function work(job) {
  sharp = (await import('sharp')).default;
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
  try {
    const answer = await work(JSON.parse(line));
    process.stdout.write(`${JSON.stringify(answer)}\n`, () => process.exit(0));
  } catch (error) {
    process.stderr.write(`${String(error).replace(/\s+/g, ' ')}\n`, () => process.exit(1));
  }
});
lines.once('close', () => process.exit(1));
