"""A line of text below a picture, in DejaVu Sans: it has Latin, Greek, Cyrillic, Hebrew and Arabic letters."""

import functools
import importlib.util
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SIZE = 18  # pixels
_MARGIN = 8
_FONT = "DejaVuSans.ttf"
_NO_LETTER = "\U0010ffff"  # drawn as the box of letters that a font lacks


def captioned(picture: Image.Image, caption: str) -> Image.Image:
    """Return the picture with a line below it, shortened to its width; as it is where the font is not installed."""
    font = _font()
    if font is None:
        return picture
    shown = caption
    while shown and font.getlength(shown) > picture.width - 2 * _MARGIN:
        caption = caption[:-1]
        shown = f"{caption}…" if caption else ""
    height = SIZE + 2 * _MARGIN
    canvas = Image.new("RGB", (picture.width, picture.height + height), "white")
    canvas.paste(picture)
    ImageDraw.Draw(canvas).text((_MARGIN, picture.height + height // 2), shown, "black", font, anchor="lm")
    return canvas


def has_letters(text: str) -> bool:
    """Return whether the font has all letters of a text; it has none of Chinese, Japanese and Korean."""
    font = _font()
    if font is None:
        return False
    box = bytes(font.getmask(_NO_LETTER))
    return all(bytes(font.getmask(letter)) != box for letter in set(text))


@functools.cache
def _font() -> ImageFont.FreeTypeFont | None:
    """Return DejaVu Sans of the system, or the copy that comes with matplotlib; None where there is neither."""
    spec = importlib.util.find_spec("matplotlib")
    folders = spec.submodule_search_locations if spec else None
    copies = [str(Path(folder, "mpl-data", "fonts", "ttf", _FONT)) for folder in folders or ()]
    for file in (_FONT, *copies):
        try:
            return ImageFont.truetype(file, SIZE)
        except OSError:
            continue
    return None
