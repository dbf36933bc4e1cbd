"""The canary: three pictures with the pixels and probabilities expected, and a script that checks a foreign runtime."""

import inspect
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from thaw.common.files import write_json
from thaw.data import squares
from thaw.data.decode import DecodeOptions, decode
from thaw.export.export_formats import TOLERANCE, ExportFormat
from thaw.export.portable_network import Runtime
from thaw.export.run_images import RunImages

FOLDER, SCRIPT = "canary", "check.py"
# Each but the second needs a step that programs forget: turning by EXIF, and laying transparency on white.
PICTURES = ("1.jpg", "2.png", "3.png")
TURNED, TRANSPARENT = "1.jpg", "3.png"
# Any other resizing or order of channels moves pixels by several levels; another JPEG decoder a few of them by one.
MAX_MEAN_PIXEL_DIFFERENCE = 0.5

_SCRIPT = '''\
"""Whether decoder, resizing and runtime give here what they gave where this folder was written: python check.py

Needs numpy, pillow and {runtime}. A program that uses the export decodes and resizes as `pixels_of` does.
"""
from __future__ import annotations

import json, pathlib, sys

import numpy as np
from PIL import Image, ImageOps

{load}
{function}
def pixels_of(file, size):
    """Upright by EXIF, transparency on white, {how}: uint8 (size, size, 3).

    Training also converts colours of an ICC profile to sRGB, scales 16-bit channels to 8 bits, and decodes JPEGs
    of over twice the size reduced, which moves pixels little. That is left out here.
    """
    image = ImageOps.exif_transpose(Image.open(file)).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
{square}    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))

here = pathlib.Path(__file__).resolve().parent
expected = json.loads((here / "canary" / "expected.json").read_text(encoding="utf-8"))
run, problems = load(here), []
for name, wanted in expected["pictures"].items():
    pixels = pixels_of(here / "canary" / name, expected["size"])
    off = np.abs(pixels.astype(float) - np.load(here / "canary" / f"{{name}}.npy")).mean()
    if not off <= expected["mean_pixel_difference"]:
        problems.append(f"{{name}}: the pixels differ by {{off:.2f}} levels of 255 on average")
    found = np.asarray(run(pixels[None]))[0]
    off = np.abs(found - wanted).max() if found.shape == np.shape(wanted) else np.inf
    if not off <= expected["probability_difference"]:
        problems.append(f"{{name}}: the probabilities differ by up to {{off:.4f}}")
print("\\n".join(problems) or "OK")
sys.exit(bool(problems))
'''


def write_canary(row: ExportFormat, precision: str, images: RunImages, run: Runtime, folder: Path) -> None:
    """Write pictures and expectations into `canary/` of an export's folder, and `check.py` beside it.

    Args:
        row: The export's format.
        precision: Of the export.
        images: Of the network's run; the pictures are made of test images.
        run: The export, loaded again. Its own probabilities are expected, not the network's.
        folder: The export's.
    """
    (folder / FOLDER).mkdir()
    size, pictures = images.pixels.image_size, {}
    spread = np.linspace(0, len(images.test) - 1, len(PICTURES)).round().astype(int)
    for name, position in zip(PICTURES, spread, strict=True):
        content = _encode(_picture(images, int(position)), name)
        rule = DecodeOptions(resize=images.pixels.decode_options.resize)
        pixels = decode(content, name, (size, size), rule).resized(size)
        (folder / FOLDER / name).write_bytes(content)
        np.save(folder / FOLDER / f"{name}.npy", pixels)
        pictures[name] = np.asarray(run(pixels[None]))[0]
    expected = {
        "size": size,
        "mean_pixel_difference": MAX_MEAN_PIXEL_DIFFERENCE,
        "probability_difference": TOLERANCE[precision],
        "pictures": pictures,
    }
    write_json(expected, folder / FOLDER / "expected.json")
    script = check_script(row, images.pixels.decode_options.resize)
    (folder / SCRIPT).write_text(script, encoding="utf-8")


def check_script(row: ExportFormat, resize: str = squares.SQUASH) -> str:
    """Return check.py, which loads the export by the code that thaw compared it with; resize: as `dataset.resize`."""
    load = re.sub(r"  # type: ignore.*", "", inspect.getsource(row.load)).rstrip()
    make_square = squares.SQUARES[resize]
    function, square, how = "", "", "squashed to a square"
    if make_square is not None:
        function = f"\n{inspect.getsource(make_square)}"
        square, how = f"    image = {make_square.__name__}(image)\n", f"{make_square.__name__} to a square"
    return _SCRIPT.format(runtime=row.installed_beside, load=load, function=function, square=square, how=how)


def _picture(images: RunImages, position: int) -> Image.Image:
    """Return a test image, upright and no square where it was none, of 1 to 2 times the network's size.

    That is small, and below the size from which thaw lets the JPEG decoder reduce, which other programs do not.
    """
    catalog, index, size = images.pixels.catalog, int(images.test[position]), images.pixels.image_size
    if catalog.paths is None:
        return Image.fromarray(images.pixels.catalog.arrays[index])  # type: ignore[index]  # one of both is there
    image = decode(catalog.paths[index], options=replace(images.pixels.decode_options, resize=squares.SQUASH)).image
    scale = min(1.0, 2 * size / max(image.size))
    return image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BILINEAR)


def _encode(image: Image.Image, name: str) -> bytes:
    """Return a picture's file: stored lying on its side, with a transparent corner, or as it is, by its name."""
    content = io.BytesIO()
    if name == TURNED:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6  # to be turned clockwise
        image.transpose(Image.Transpose.ROTATE_90).save(content, "JPEG", quality=95, exif=exif)
        return content.getvalue()
    if name == TRANSPARENT:
        image = image.convert("RGBA")
        # Black lies under it, so that a program that drops alpha shows that, whatever the picture.
        image.paste((0, 0, 0, 0), (0, 0, (image.width + 1) // 2, (image.height + 1) // 2))
    image.save(content, "PNG")
    return content.getvalue()
