"""The charts of predict's `chart=`: one PNG an image."""

import sys
from pathlib import Path

from thaw.common.console import printable
from thaw.common.errors import UserError
from thaw.common.files import write_atomically
from thaw.data.decode import DecodeOptions
from thaw.data.thumbnails import encode_jpeg, jpeg_uri
from thaw.results.predicted_files import PredictedImage
from thaw.tools.picture_names import check_no_image_is_replaced, picture_names
from thaw.tools.shown_pictures import shown_picture

MAX_CHARTS = 100
_PICTURE_SIDE = 480  # pixels of the picture's longer side in a chart


def check_chart(chart: str) -> None:
    """Raise UserError unless `chart=` names a PNG in a folder that exists."""
    file = Path(chart).expanduser()
    if file.suffix.lower() != ".png":
        raise UserError(f"chart={chart} is drawn as PNG: give a name that ends in .png")
    if not file.absolute().parent.is_dir():
        raise UserError(f"chart={chart}: its folder does not exist; make it first")


class ChartFiles:
    """Draws a chart of each image: as FILE.png of a single image, of several as FILE-NAME.png.

    Args:
        chart: FILE.png.
        files: all images; the first MAX_CHARTS of them are drawn.
        class_names: of the network's outputs.
        top: classes that have a bar.
        options: how pictures are decoded.
    """

    def __init__(self, chart: str, files: list[str], class_names: list[str], top: int, options: DecodeOptions) -> None:
        self._file, self._count = Path(chart).expanduser(), len(files)
        self._names = dict(zip(files[:MAX_CHARTS], picture_names(files[:MAX_CHARTS]), strict=True))
        self._class_names, self._top, self._options = class_names, top, options
        self._written: list[Path] = []
        check_no_image_is_replaced(f"chart={chart}", map(self._path, self._names), files)

    def add(self, image: PredictedImage) -> None:
        """Draw the chart of an image, if it is among the first."""
        from thaw.report.prediction_charts import ChartedImage, prediction_png  # late: it imports Altair

        if image.file not in self._names:
            return
        picture = jpeg_uri(encode_jpeg(shown_picture(image.file, _PICTURE_SIDE, self._options)))
        charted = ChartedImage(Path(image.file).name, picture, image.probabilities, self._class_names)
        write_atomically(path := self._path(image.file), prediction_png(charted, self._top))
        self._written.append(path)

    def _path(self, file: str) -> Path:
        if self._count == 1:
            return self._file
        return self._file.with_name(f"{self._file.stem}-{self._names[file]}{self._file.suffix}")

    def report(self) -> None:
        """Say on standard error what was written: standard output may be read by a program."""
        if len(self._written) == 1:
            print(f"wrote {printable(str(self._written[0]))}", file=sys.stderr)
        elif self._written:
            names = f"{self._written[0]} to {self._written[-1].name}"
            print(f"wrote {len(self._written)} charts, {printable(names)}", file=sys.stderr)
        if self._count > MAX_CHARTS:
            print(f"note: only the first {MAX_CHARTS} of {self._count:,} images have a chart", file=sys.stderr)
