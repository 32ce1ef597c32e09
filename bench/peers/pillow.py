"""The side `pillow` of `darkroom-bench peers`: the original decoded once, at the scale that JPEG offers, then a cascade."""

import io

from lanes import run


def prepare(job):
    from PIL import Image, ImageOps, features
    import PIL

    def make(photo):
        image = Image.open(io.BytesIO(photo))
        first = job["variants"][0]
        # For JPEG: the smallest scale that is not smaller than the largest variant. Does nothing to other formats.
        image.draft("RGB", (first["width"], first["height"]))
        image = ImageOps.exif_transpose(image)
        if image.mode != "RGB":
            image = image.convert("RGB")
        files = []
        for variant in job["variants"]:
            image = resize(image, variant)
            files.append(encode(image))
        return files

    def resize(image, variant):
        width, height = variant["width"], variant["height"]
        if variant["fit"] == "cover":
            fitting = min(1, image.width / width, image.height / height)
            size = (max(1, round(width * fitting)), max(1, round(height * fitting)))
            return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
        scale = min(width / image.width, height / image.height)
        if scale >= 1:
            return image
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)

    def encode(image):
        out = io.BytesIO()
        if job["format"] == "webp":
            image.save(out, "WEBP", quality=job["quality"], method=job["effort"])
        else:
            image.save(out, "JPEG", quality=job["quality"], optimize=job["optimise"])
        return out.getvalue()

    versions = f"Pillow {PIL.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}, libwebp {features.version('webp')}"
    return versions, make


if __name__ == "__main__":
    run(prepare)
