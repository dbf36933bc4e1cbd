"""The canary's pictures need EXIF and transparency, and check.py decodes them as thaw does."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from thaw.data.decode import DEFAULT_OPTIONS, DecodeOptions
from thaw.export.canary import write_canary
from thaw.export.export_formats import FORMATS

SIZE = 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made_folder(tmp_path, DEFAULT_OPTIONS)


def made_folder(tmp_path: Path, options: DecodeOptions) -> Path:
    """Write the canary of a network whose pictures are decoded so."""
    photos = []
    for number, sides in enumerate(((90, 40), (40, 90), (20, 24))):
        noise = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(noise).resize(sides).save(tmp_path / f"{number}.png")
        photos.append(str(tmp_path / f"{number}.png"))
    pixels = SimpleNamespace(
        image_size=SIZE, catalog=SimpleNamespace(paths=photos, arrays=None), decode_options=options
    )
    images: Any = SimpleNamespace(pixels=pixels, test=np.arange(3))
    (tmp_path / "export").mkdir()

    def run(batch: Any) -> Any:
        return batch.mean(axis=(1, 2)) / 765

    write_canary(FORMATS["onnx"], "float32", images, run, tmp_path / "export")
    return tmp_path / "export"


def script_pixels(file: Path, forgotten: str = "") -> Any:
    """Return what check.py's own `pixels_of` makes of a file, without the step that a program forgot."""
    script = (file.parent.parent / "check.py").read_text().split("here = ")[0]
    steps = {"": "", "EXIF": "ImageOps.exif_transpose", "alpha": "Image.alpha_composite"}
    assert steps[forgotten] in script
    if forgotten == "EXIF":
        script = script.replace(steps["EXIF"], "")
    if forgotten == "alpha":
        script = script.replace('Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)', "image")
    names: dict[str, Any] = {}
    exec(script, names)
    return names["pixels_of"](file, SIZE)


def off(folder: Path, name: str, forgotten: str = "") -> float:
    expected = np.load(folder / "canary" / f"{name}.npy")
    return float(np.abs(script_pixels(folder / "canary" / name, forgotten).astype(float) - expected).mean())


def test_the_script_decodes_the_pictures_to_the_same_pixels_as_thaw(folder: Path) -> None:
    assert list(json.loads((folder / "canary" / "expected.json").read_text())["pictures"]) == [
        "1.jpg", "2.png", "3.png",
    ]  # fmt: skip
    assert [off(folder, name) for name in ("1.jpg", "2.png", "3.png")] == [0, 0, 0]


def test_a_picture_lies_on_its_side_and_another_has_a_transparent_corner(folder: Path) -> None:
    turned, clear = Image.open(folder / "canary" / "1.jpg"), Image.open(folder / "canary" / "3.png")
    assert (turned.getexif()[0x0112], turned.size) == (6, (28, 64))
    assert (clear.mode, clear.getpixel((0, 0)), clear.getpixel((19, 23))[3]) == ("RGBA", (0, 0, 0, 0), 255)
    assert np.load(folder / "canary" / "3.png.npy")[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("forgotten", "name"), [("EXIF", "1.jpg"), ("alpha", "3.png")])
def test_a_program_that_forgets_a_step_gives_other_pixels(folder: Path, forgotten: str, name: str) -> None:
    limit = json.loads((folder / "canary" / "expected.json").read_text())["mean_pixel_difference"]
    assert off(folder, name, forgotten) > 10 * limit


@pytest.mark.parametrize(("resize", "step"), [("crop", "image = cropped(image)"), ("pad", "image = padded(image)")])
def test_a_rule_that_makes_squares_travels_along_and_a_program_without_it_gives_other_pixels(
    tmp_path: Path, resize: str, step: str
) -> None:
    folder = made_folder(tmp_path, DecodeOptions(resize=resize))
    assert [off(folder, name) for name in ("1.jpg", "2.png", "3.png")] == [0, 0, 0]
    script = folder / "check.py"
    assert script.read_text().count(step) == 1
    assert "thaw" not in script.read_text()
    script.write_text(script.read_text().replace(step, "pass"))
    assert off(folder, "1.jpg") > 5
