"""Galleries as pictures for a slide: a grid of images with what is said about each."""

import io
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from thaw.common.console import printable
from thaw.report.content import Gallery, GalleryImage

MAX_IMAGES = 24
_COLUMNS, _SIDE, _GAP = 6, 192, 16  # pixels, but for the columns
_TOP, _TEXT = 52, 66  # height of the title, and of the three lines below an image
_INK, _SOFT, _BAD = "#1c1e21", "#5d646d", "#b3261e"


def contact_sheet_png(gallery: Gallery) -> bytes:
    """Return the first images of a gallery as PNG, each with its overlay beside it where it has one."""
    images = gallery.images[:MAX_IMAGES]
    wide = 2 if any(image.overlay for image in images) else 1
    columns = max(1, min(_COLUMNS // wide, len(images)))
    width, height = wide * _SIDE, _SIDE + _TEXT
    lines = -(-len(images) // columns)
    size = (max(480, _GAP + columns * (width + _GAP)), _TOP + lines * (height + _GAP))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, 14), _fitted(gallery.title, 22, size[0] - 2 * _GAP), _INK, _font(22))
    for i, image in enumerate(images):
        x, y = _GAP + i % columns * (width + _GAP), _TOP + i // columns * (height + _GAP)
        _paste(sheet, image, x, y)
        _caption(draw, image, x, y + _SIDE, width)
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _paste(sheet: Image.Image, image: GalleryImage, x: int, y: int) -> None:
    """Draw an image, and its overlay to the right of it, in the middle of its square and as large as fits."""
    for jpeg in (image.jpeg, image.overlay):
        if jpeg is not None:
            with Image.open(io.BytesIO(jpeg)) as picture:
                scale = _SIDE / max(picture.size)
                size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
                shown = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
            sheet.paste(shown, (x + (_SIDE - size[0]) // 2, y + (_SIDE - size[1]) // 2))
        x += _SIDE


def _caption(draw: ImageDraw.ImageDraw, image: GalleryImage, x: int, y: int, width: int) -> None:
    """Write the true class, the predicted one with its probability where it is another one, and the file."""
    wrong = bool(image.true and image.predicted and image.predicted != image.true)
    chance = "" if image.probability is None else f" {100 * image.probability:.1f} %"
    texts = [(image.true or image.predicted, "" if wrong else chance, _INK)]
    if wrong:
        texts.append((f"→ {image.predicted}", chance, _BAD))
    for text, end, colour in texts:
        draw.text((x, y + 3), _fitted(text, 15, width - _font(15).getlength(end)) + end, colour, _font(15))
        y += 20
    draw.text((x, y + 5), _fitted(image.file, 12, width, end=True), _SOFT, _font(12))


def _fitted(text: str, size: int, width: float, end: bool = False) -> str:
    """Return a text in one line of at most `width` pixels: its beginning, or its end."""
    text, font = printable(text), _font(size)
    text = text[-200:] if end else text[:200]
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[1:] if end else text[:-1]
    return f"…{text}" if end else f"{text}…"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return a font that has more than Latin letters where the system has one, or Pillow's own."""
    for name in ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial Unicode.ttf", "arial.ttf"):
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)
