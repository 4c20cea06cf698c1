"""What of an image file is not read: all readers here give 8 bits a colour, in RGB, as stored."""

from __future__ import annotations

import io
from collections.abc import Mapping

ORIENTATION = 0x0112  # of EXIF; 1 is upright
LOSSES = {
    "depth": "16 bits a colour, of which the upper 8 are read",
    "alpha": "transparency, which is left out",
    "colours": "CMYK or another colour space, brought to RGB without a profile",
    "profile": "a colour profile that is not sRGB, which is not applied",
    "orientation": "an orientation in EXIF, by which it is not turned",
    "frames": "several frames or pages, of which the first is read",
}


def losses(data: bytes) -> tuple[str, ...]:
    """Keys of ``LOSSES`` that hold of an image file; none of one that cannot be opened."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            mode, said = image.mode, image.info
            profile = said.get("icc_profile") or b"sRGB"
            several = getattr(image, "n_frames", 1) > 1 and image.format != "MPO"  # a preview
            bits = getattr(image, "tag_v2", {}).get(258, ())  # of a TIFF's samples
            turned = image.getexif().get(ORIENTATION, 1) != 1
    except Exception:  # Pillow's plugins raise many kinds for damaged files; decoding says so
        return ()
    found = {
        "depth": mode.startswith("I;16")
        or max(bits, default=8) > 8
        or (data[:4] == b"\x89PNG" and data[24] == 16),
        "alpha": mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in said,
        "colours": mode in ("CMYK", "YCbCr", "LAB", "HSV"),
        "profile": b"sRGB" not in profile,
        "orientation": turned,
        "frames": several,
    }
    return tuple(name for name, holds in found.items() if holds)


def told(counts: Mapping[str, int], images: int) -> list[str]:
    """A line for each kind that was counted."""
    return [f"{counts[k]:,} of {images:,} images: {LOSSES[k]}" for k in LOSSES if counts.get(k)]
