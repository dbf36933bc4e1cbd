"""Galleries as pictures for a slide: a grid of images with what is said about each."""

import io

from PIL import Image, ImageDraw, ImageFont

from thaw.common.console import printable
from thaw.report.content import Gallery, GalleryImage

MAX_IMAGES = 24
_COLUMNS, _SIDE, _GAP, _TEXT = 6, 192, 16, 48  # pixels; text: the height of two lines
_INK, _SOFT, _BAD = "#1c1e21", "#5d646d", "#b3261e"


def contact_sheet_png(gallery: Gallery) -> bytes:
    """Return the first images of a gallery as PNG, each with its overlay beside it where it has one."""
    images = gallery.images[:MAX_IMAGES]
    wide = 2 if any(image.overlay for image in images) else 1
    columns = max(1, min(_COLUMNS // wide, len(images)))
    width, height = wide * _SIDE, _SIDE + _TEXT
    lines = -(-len(images) // columns)
    top = 48
    size = (max(480, _GAP + columns * (width + _GAP)), top + lines * (height + _GAP) + _GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, 14), _fitted(gallery.title, 22, size[0] - 2 * _GAP), _INK, ImageFont.load_default(22))
    for i, image in enumerate(images):
        x, y = _GAP + i % columns * (width + _GAP), top + i // columns * (height + _GAP)
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
    wrong = bool(image.predicted) and image.predicted != image.true
    text = f"{image.true} → {image.predicted}" if wrong else image.true or image.predicted
    chance = "" if image.probability is None else f" {image.probability:.1%}"
    room = width - ImageFont.load_default(15).getlength(chance)
    draw.text((x, y + 4), _fitted(text, 15, room) + chance, _BAD if wrong else _INK, ImageFont.load_default(15))
    draw.text((x, y + 24), _fitted(image.file, 12, width, end=True), _SOFT, ImageFont.load_default(12))


def _fitted(text: str, size: int, width: float, end: bool = False) -> str:
    """Return a text in one line of at most `width` pixels: its beginning, or its end."""
    text, font = printable(text)[:500] if not end else printable(text)[-500:], ImageFont.load_default(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[1:] if end else text[:-1]
    return "…" + text if end else text + "…"
