"""How many pictures of each gallery fit into a page that a phone still opens."""

from collections.abc import Sequence
from dataclasses import replace

from thaw.report.content import Gallery, GalleryImage

_MARKUP = 700  # bytes around a picture, its names among them


def fitting(galleries: Sequence[Gallery], budget: int) -> list[Gallery]:
    """Return the galleries with their first pictures, as many of each as fit into `budget` bytes of a page.

    All galleries get a picture before one gets its second.
    """
    counts = [0] * len(galleries)
    left = budget
    for row in range(max((len(gallery.images) for gallery in galleries), default=0)):
        for i, gallery in enumerate(galleries):
            if row < len(gallery.images):
                left -= _size(gallery.images[row])
                if left < 0:
                    return _cut(galleries, counts)
                counts[i] = row + 1
    return list(galleries)


def _cut(galleries: Sequence[Gallery], counts: Sequence[int]) -> list[Gallery]:
    return [replace(g, images=g.images[:count]) for g, count in zip(galleries, counts, strict=True)]


def _size(image: GalleryImage) -> int:
    pictures = len(image.jpeg) + len(image.overlay or b"")
    return 4 * (pictures // 3 + 2) + _MARKUP  # base64 writes three bytes as four letters
