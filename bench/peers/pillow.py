"""The side `pillow` of `darkroom-bench peers`: the original decoded once, at the scale that JPEG offers, then a cascade."""

import functools
import io
import platform

from lanes import run

ORIENTATION = 0x0112


def prepare(job):
    from PIL import Image, ImageCms, ImageOps, features
    import PIL

    srgb = ImageCms.createProfile("sRGB")

    def make(photo):
        image = Image.open(io.BytesIO(photo))
        profile = image.info.get("icc_profile")
        turned = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        width, height = image.size[::-1] if turned else image.size
        scaled, _ = sizes(width, height, job["variants"][0])
        # For JPEG: the smallest scale that is not smaller than the largest variant. Does nothing to other formats.
        image.draft(None, scaled[::-1] if turned else scaled)
        ImageOps.exif_transpose(image, in_place=True)
        if profile is None and image.mode not in ("L", "RGB"):
            image = image.convert("RGB")
        files = []
        for index, variant in enumerate(job["variants"]):
            image = resize(image, variant)
            if index == 0 and profile is not None:
                # After the first reduction, when there are fewer pixels.
                image = to_srgb(image, profile)
            files.append(encode(image))
        return files

    def sizes(width, height, variant):
        """The size to which the whole picture is scaled, and that of the variant, which a cover cuts from it."""
        box = (variant["width"], variant["height"])
        ratios = (box[0] / width, box[1] / height)
        if variant["fit"] == "cover":
            scale, shrink = min(1, max(ratios)), min(1, 1 / max(ratios))
            cut = tuple(max(1, round(side * shrink)) for side in box)
            return scaled(width, height, scale), cut
        size = scaled(width, height, min(1, *ratios))
        return size, size

    def scaled(width, height, scale):
        return max(1, round(width * scale)), max(1, round(height * scale))

    def resize(image, variant):
        _, size = sizes(*image.size, variant)
        if size == image.size:
            return image
        if variant["fit"] == "cover":
            return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
        return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)

    @functools.lru_cache(maxsize=16)
    def transform(profile, mode):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.buildTransform(source, srgb, mode, "RGB")

    def to_srgb(image, profile):
        if image.mode not in ("L", "RGB", "CMYK"):
            image = image.convert("RGB")
        try:
            return ImageCms.applyTransform(image, transform(profile, image.mode))
        except (OSError, ImageCms.PyCMSError):
            # A profile that cannot be read, or is not for these pixels, is as none.
            return image.convert("RGB")

    def encode(image):
        out = io.BytesIO()
        none = {"exif": b"", "icc_profile": None, "xmp": b""}
        if job["format"] == "webp":
            image.save(out, "WEBP", quality=job["quality"], method=job["effort"], **none)
        else:
            settings = {"optimize": job["optimise"], "subsampling": "4:2:0"}
            image.save(out, "JPEG", quality=job["quality"], comment=b"", **settings, **none)
        return out.getvalue()

    versions = [
        f"Pillow {PIL.__version__}",
        f"libjpeg-turbo {features.version('libjpeg_turbo')}",
        f"libwebp {features.version('webp')}",
        f"Python {platform.python_version()}",
    ]
    return ", ".join(versions), make


if __name__ == "__main__":
    run(prepare)
