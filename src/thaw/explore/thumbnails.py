"""Small pictures as data URIs, so that the page needs no files beside it."""

import base64
import io
from collections.abc import Iterable

from PIL import Image

from thaw.common.parallel import prefetch_map, with_progress
from thaw.data.decode import decode, resize
from thaw.explore.scanned_images import ScannedImages

MAX_SIDE = 112  # longest, in pixels; smaller pictures stay as they are
JPEG_QUALITY = 70  # of the JPEG: 2 to 4 kB a picture


def data_uris(pictures: ScannedImages, rows: Iterable[int]) -> dict[int, str]:
    """Return `data:image/jpeg;base64,...` by row; raises BadImage for a file that was changed meanwhile."""
    wanted = sorted(set(rows))
    made = with_progress(prefetch_map(lambda row: _uri(_thumbnail(pictures, row)), wanted), "thumbnails", len(wanted))
    return dict(zip(wanted, made, strict=True))


def _thumbnail(pictures: ScannedImages, row: int) -> Image.Image:
    path = pictures.path(row)
    if path is None:
        catalog = pictures.pixels.catalog
        assert catalog.arrays is not None  # the catalog holds one of both
        image = Image.fromarray(catalog.arrays[pictures.pixels.indices[row]])
        return resize(image, _size(*image.size))
    picture = decode(path, size=(MAX_SIDE, MAX_SIDE), options=pictures.pixels.decode_options)
    return resize(picture.image, _size(picture.width, picture.height), picture.box)


def _size(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, MAX_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _uri(image: Image.Image) -> str:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
