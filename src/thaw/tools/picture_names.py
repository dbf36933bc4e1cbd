"""Names for the pictures that are written of images: of each image one of its own, which any file system takes."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from thaw.common.errors import UserError

MAX_LETTERS = 120  # of a name; 255 bytes are what most file systems take, and letters have up to 4


def picture_names(files: Sequence[str]) -> list[str]:
    """Return a name without suffix for each file: its own, after its folder's where several files have one name.

    Letters that some systems do not take in names become `_`. No two names are alike, also in upper or lower case.
    """
    stems = [_plain(Path(file).stem) for file in files]
    counts = Counter(stem.casefold() for stem in stems)
    names: list[str] = []
    taken = {stem for stem, count in counts.items() if count == 1}
    for file, stem in zip(files, stems, strict=True):
        if counts[stem.casefold()] == 1:
            names.append(stem)
            continue
        name = first = _plain(f"{Path(file).absolute().parent.name}-{stem}")
        number = 2
        while name.casefold() in taken:
            name, number = f"{first}-{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names


def _plain(name: str) -> str:
    name = re.sub(r'[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff/\\:*?"<>|]', "_", name).strip(" .")
    return name[:MAX_LETTERS].encode()[: 2 * MAX_LETTERS - 20].decode(errors="ignore") or "_"


def check_no_image_is_replaced(key: str, targets: Iterable[Path], images: Iterable[str]) -> None:
    """Raise UserError when a file that is to be written is one of the images that are read; `key` names it."""
    there = {os.path.realpath(target) for target in targets if os.path.lexists(target)}
    if not there:  # as mostly: to resolve the names of a million images takes a minute
        return
    names = {os.path.basename(path).casefold() for path in there}  # noqa: PTH119
    for image in images:
        is_link = os.path.islink(image)  # noqa: PTH114
        if (is_link or os.path.basename(image).casefold() in names) and os.path.realpath(image) in there:  # noqa: PTH119
            raise UserError(f"{key} would replace the image {image}. Write elsewhere")
