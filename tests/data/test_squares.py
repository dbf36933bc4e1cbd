"""dataset.resize: what becomes of pictures that are not square, wherever they come from."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thaw.cache import DiskCache
from thaw.config.schema import DatasetConfig
from thaw.data import prepare
from thaw.data.decode import DecodeOptions, decode
from thaw.data.file_bytes import BadImageError
from thaw.data.picture_input import pixels_of
from thaw.data.pixels import of_scan

RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)


def stripes(width: int = 90, height: int = 30) -> Image.Image:
    """A third red, a third green, a third blue, from left to right; of a tall one from top to bottom."""
    image = Image.new("RGB", (width, height), GREEN)
    across, down = (width // 3, height) if width > height else (width, height // 3)
    image.paste(RED, (0, 0, across, down))
    image.paste(BLUE, (width - across, height - down, width, height))
    return image


def colors(pixels: np.ndarray) -> list[tuple[int, ...]]:
    """Return the colours left, in the middle, right and at the top, off the edges, where a JPEG's colours bleed."""
    return [tuple(pixels[y, x].tolist()) for y, x in ((12, 4), (12, 12), (12, 19), (2, 12))]


@pytest.mark.parametrize("scale", [1, 8])  # a large JPEG is decoded at a fraction of its size
@pytest.mark.parametrize("form", ["png", "jpeg"])
@pytest.mark.parametrize(
    ("resize", "expected"),
    [("squash", [RED, GREEN, BLUE, GREEN]), ("crop", [GREEN, GREEN, GREEN, GREEN]), ("pad", [RED, GREEN, BLUE, GREY])],
)
def test_a_wide_picture_is_squashed_cropped_or_padded(
    tmp_path: Path, resize: str, expected: list, form: str, scale: int
) -> None:
    file = tmp_path / f"wide.{form}"
    stripes(90 * scale, 30 * scale).save(file)
    pixels = decode(file, size=(24, 24), options=DecodeOptions(resize=resize)).resized(24)
    np.testing.assert_allclose(colors(pixels), expected, atol=30 if form == "jpeg" else 1)


def test_width_and_height_are_the_squares_and_the_files_are_kept(tmp_path: Path) -> None:
    stripes(91, 30).save(tmp_path / "wide.png")
    for resize, side in (("crop", 30), ("pad", 91)):
        picture = decode(tmp_path / "wide.png", options=DecodeOptions(resize=resize))
        assert (picture.width, picture.height, picture.image.size) == (side, side, (side, side))
        assert picture.file_size == (91, 30)
    assert decode(tmp_path / "wide.png").file_size == (91, 30)


def test_exif_turns_a_picture_before_it_is_cropped(tmp_path: Path) -> None:
    lying = Image.new("RGB", (90, 60), GREEN)  # 60 wide and 90 high once it is upright
    lying.paste(RED, (0, 0, 15, 60))  # at the top then, and outside the centre
    exif = Image.Exif()
    exif[0x0112] = 6
    lying.save(tmp_path / "turned.png", exif=exif)
    pixels = decode(tmp_path / "turned.png", options=DecodeOptions(resize="crop")).resized(30)
    assert {tuple(p) for p in pixels.reshape(-1, 3).tolist()} == {GREEN}


@pytest.mark.parametrize("resize", ["crop", "pad"])
@pytest.mark.parametrize("sides", [(90, 30), (12, 36), (400, 300)])
def test_training_prediction_and_arrays_see_the_same_pixels(
    tmp_path: Path, resize: str, sides: tuple[int, int]
) -> None:
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        stripes(*sides).save(tmp_path / "photos" / name / "1.png")
    dataset = DatasetConfig(name="image_folder", path=str(tmp_path / "photos"), resize=resize)
    options, file = DecodeOptions(resize=resize), tmp_path / "photos" / "a" / "1.png"
    expected = pixels_of(file, 24, options)
    for _ in range(2):  # decoded, then from the cache
        scan, spaces = prepare.scan_dataset(dataset, DiskCache(tmp_path / "cache", 1e9, outputs=tmp_path), 24)
        assert scan.sizes.tolist() == [list(sides)] * 2, "the files' own"
        np.testing.assert_array_equal(of_scan(scan, np.arange(2), spaces).take(np.arange(1))[0], expected)
    np.testing.assert_array_equal(pixels_of(np.asarray(stripes(*sides)), 24, options), expected)
    np.testing.assert_array_equal(pixels_of(stripes(*sides), 24, options), expected)
    squashed, _ = prepare.scan_dataset(
        DatasetConfig(name="image_folder", path=str(tmp_path / "photos")),
        DiskCache(tmp_path / "cache", 1e9, outputs=tmp_path),
        24,
    )
    assert squashed.sizes.tolist() == scan.sizes.tolist()
    assert not np.array_equal(pixels_of(file, 24), expected), "another rule has other rows"


def test_a_long_strip_is_not_padded_to_a_square_that_fills_the_memory(tmp_path: Path) -> None:
    strip = Image.new("RGB", (20_000, 3))
    strip.save(tmp_path / "strip.png")
    for picture in (tmp_path / "strip.png", strip):
        with pytest.raises(BadImageError, match="20000x20000 pixels once it is padded, more than 100 million"):
            pixels_of(picture, 24, DecodeOptions(resize="pad"))
        assert pixels_of(picture, 24, DecodeOptions(resize="crop")).shape == (24, 24, 3)
