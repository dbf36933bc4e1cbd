"""The pictures of predict's `explain=true`: where in an image the network sees the class that it predicts."""

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thaw.common.console import printable
from thaw.common.csv_text import spreadsheet_text
from thaw.common.errors import UserError
from thaw.common.files import write_atomically
from thaw.data.decode import DecodeOptions
from thaw.results.predicted_files import PredictedImage
from thaw.results.trained_classifier import Classifier
from thaw.tools.picture_captions import captioned, has_letters
from thaw.tools.picture_names import check_no_image_is_replaced, picture_names
from thaw.tools.shown_pictures import shown_picture

LISTING = "explain.csv"
_SIDE = 480  # pixels of the picture's longer side


def check_explain_folder(explain_output: str) -> None:
    """Raise UserError where a file has the name of the folder `explain_output=`."""
    folder = Path(explain_output).expanduser()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"explain_output={explain_output} is a file; give a folder, which is made if it is missing")


class ExplainedImages:
    """Writes each image under its Grad-CAM as NAME.png, and at the end explain.csv, which says what each shows.

    Args:
        folder: made if it does not exist.
        files: all images.
        classifier: the network; raises UserError where it has no feature map.
        options: how its pictures are decoded.
    """

    def __init__(self, folder: str, files: Sequence[str], classifier: Classifier, options: DecodeOptions) -> None:
        from thaw.models.grad_cam import GradCam  # late: it imports Keras

        self._folder, self._class_names, self._options = Path(folder).expanduser(), classifier.class_names, options
        self._names = dict(zip(files, picture_names(files), strict=True))
        self._check_replaces_nothing(files, f"explain_output={folder}")
        self._heat = GradCam(classifier.model)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._rows: list[tuple[str, str, float, str]] = []

    def _check_replaces_nothing(self, files: Sequence[str], key: str) -> None:
        """Raise UserError when a picture would replace an image, or a file of a folder without an earlier listing."""
        targets = [self._folder / f"{name}.png" for name in self._names.values()]
        check_no_image_is_replaced(key, targets, files)
        there = [target for target in targets if target.exists()]
        if there and not (self._folder / LISTING).is_file():
            raise UserError(
                f"{key} would replace {there[0]}, and without {LISTING} beside it that may be yours. Write elsewhere"
            )

    def add(self, images: Sequence[PredictedImage]) -> None:
        """Write the pictures of a batch."""
        predicted = np.array([image.probabilities.argmax() for image in images])
        heats = self._heat(np.stack([image.pixels for image in images]), predicted)
        for image, output, heat in zip(images, predicted.tolist(), heats, strict=True):
            self._write(image, output, heat)

    def _write(self, image: PredictedImage, output: int, heat: npt.NDArray[np.float32]) -> None:
        from thaw.models.heat_overlay import overlay

        name, probability = self._class_names[output], float(image.probabilities[output])
        shown = printable(name) if has_letters(printable(name)) else f"output {output}"
        caption = f"{shown} · {probability:.3f}" + ("" if heat.any() else " · nothing speaks for it")
        picture = overlay(np.asarray(shown_picture(image.file, _SIDE, self._options)), heat)
        content = io.BytesIO()
        captioned(picture, caption).save(content, "PNG")
        file = f"{self._names[image.file]}.png"
        write_atomically(self._folder / file, content.getvalue())
        self._rows.append((image.file, name, probability, file))

    def finish(self) -> None:
        """Write explain.csv, and say so on standard error: standard output may be read by a program."""
        text = spreadsheet_text(("image", "class", "probability", "file"), self._rows)
        write_atomically(self._folder / LISTING, text.encode("utf-8", "surrogateescape"))
        where = printable(str(self._folder))
        print(f"wrote {len(self._rows):,} explained images and {LISTING} into {where}", file=sys.stderr)
