"""The side `pyvips` of `darkroom-bench peers`: the original decoded once, with shrink-on-load, then a cascade in memory."""

import os
import platform

from lanes import run


def prepare(job):
    # One photo per process and one thread per photo, which is faster than threads within a photo.
    os.environ["VIPS_CONCURRENCY"] = "1"
    import pyvips

    pyvips.cache_set_max(0)

    def make(photo):
        first, *others = job["variants"]
        # Turns the photo upright. `output_profile` would convert photos without a profile too, at several times the cost.
        image = pyvips.Image.thumbnail_buffer(photo, first["width"], **box(first))
        if image.get_typeof("icc-profile-data"):
            image = image.icc_transform("srgb", embedded=True)
        # Held in memory, because it is read twice: by the encoder and by the next variant.
        if others:
            image = image.copy_memory()
        files = [encode(image)]
        for variant in others:
            image = image.thumbnail_image(variant["width"], **box(variant)).copy_memory()
            files.append(encode(image))
        return files

    def box(variant):
        cover = {"crop": "centre"} if variant["fit"] == "cover" else {}
        return {"height": variant["height"], "size": "down", **cover}

    def encode(image):
        if job["format"] == "webp":
            return image.webpsave_buffer(Q=job["quality"], effort=job["effort"], keep="none")
        optimise = job["optimise"]
        return image.jpegsave_buffer(Q=job["quality"], optimize_coding=optimise, subsample_mode="on", keep="none")

    vips = ".".join(str(pyvips.version(part)) for part in range(3))
    return f"pyvips {pyvips.__version__}, libvips {vips}, Python {platform.python_version()}", make


if __name__ == "__main__":
    run(prepare)
