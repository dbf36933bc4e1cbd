import base64

import numpy as np
import pytest
from PIL import Image

from thaw.data.decode import MAX_PIXELS, DecodeOptions, decode
from thaw.data.file_bytes import BadImageError
from thaw.data.picture_input import pixels_of

from .pictures import encoded, noise, photo, turned

JPEG = turned(photo(300, 200), 6)  # large enough to be decoded at a reduced size, and on its side


def training_pixels(content: bytes, size: int = 32) -> np.ndarray:
    return decode(content, size=(size, size)).resized(size)


def base64_text(content: bytes) -> str:
    return base64.b64encode(content).decode()


FORMS = {
    "bytes": lambda path: JPEG,
    "bytearray": lambda path: bytearray(JPEG),
    "memoryview": lambda path: memoryview(JPEG),
    "path": lambda path: path,
    "text of a path": lambda path: str(path),
    "numpy's text": lambda path: np.array([str(path)])[0],
    "base64": lambda path: base64_text(JPEG),
    "base64 in lines": lambda path: base64.encodebytes(JPEG).decode(),
    "base64 for URLs, unpadded": lambda path: base64.urlsafe_b64encode(JPEG).decode().rstrip("="),
    "data URL": lambda path: "data:image/jpeg;base64," + base64_text(JPEG),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_file_gives_the_pixels_of_training_in_whatever_form_it_comes(form, tmp_path):
    path = tmp_path / "a photo.jpg"
    path.write_bytes(JPEG)
    assert np.array_equal(pixels_of(FORMS[form](path), 32), training_pixels(JPEG))


def test_arrays_and_images_of_pillow_are_resized_by_the_rule_of_files():
    image = noise(50, 40)
    expected = training_pixels(encoded(image, "PNG"))
    assert np.array_equal(pixels_of(np.asarray(image), 32), expected)
    assert np.array_equal(pixels_of(image, 32), expected)
    exact = noise(32, 32)
    assert np.array_equal(pixels_of(np.asarray(exact), 32), np.asarray(exact))


def test_grey_becomes_rgb_and_alpha_is_laid_on_white_as_in_files():
    grey = noise(50, 40).convert("L")
    expected = training_pixels(encoded(grey, "PNG"))
    assert np.array_equal(pixels_of(np.asarray(grey), 32), expected)
    assert np.array_equal(pixels_of(np.asarray(grey)[..., None], 32), expected)
    clear = Image.fromarray(np.dstack([np.asarray(noise(50, 40)), np.asarray(grey)]))
    assert np.array_equal(pixels_of(np.asarray(clear), 32), training_pixels(encoded(clear, "PNG")))


def test_an_image_of_pillow_is_turned_upright_and_stays_as_it_was(tmp_path):
    path = tmp_path / "on its side.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(50, 40).save(path, exif=exif)
    with Image.open(path) as image:
        assert np.array_equal(pixels_of(image, 32), training_pixels(path.read_bytes()))
        assert image.size == (50, 40)


def test_the_bits_of_16_bit_files_are_those_asked_for():
    twelve = encoded(Image.fromarray(np.full((8, 8), 2**11, np.uint16)), "PNG")
    assert pixels_of(twelve, 8, DecodeOptions(12))[0, 0, 0] == 128
    assert pixels_of(Image.fromarray(np.full((8, 8), 2**11, np.uint16)), 8, DecodeOptions(12))[0, 0, 0] == 128


@pytest.mark.parametrize(
    ("value", "reason"),
    {
        "no file": ("photos/cat", "there is no such file, and it is not base64 of an image file"),
        "long text": ("x" * 5000 + "!", "there is no such file"),
        "URL": ("https://example.org/cat.jpg", "URLs are not fetched"),
        "data URL without base64": ("data:image/jpeg,abc", "a data: URL is read only in base64"),
        "data URL of text": ("data:image/jpeg;base64,!!!", "it is not base64 of an image file"),
        "text in base64": ("data:text/plain;base64,aGVsbG8gd29ybGQ=", "not a picture but"),
        "no bytes": (b"", "empty"),
        "half a JPEG": (JPEG[: len(JPEG) // 2], "truncated"),
        "floats": (np.zeros((8, 8, 3)), r"an array of float64: give uint8 \(H, W, 3\)"),
        "channels first": (np.zeros((3, 8, 8), np.uint8), r"an array of shape \(3, 8, 8\)"),
        "a batch": (np.zeros((2, 8, 8, 3), np.uint8), r"an array of shape \(2, 8, 8, 3\)"),
        "no pixels": (np.zeros((0, 8, 3), np.uint8), "has no pixels"),
        "a number": (3, "it is of type int"),
        "nothing": (None, "it is of type NoneType"),
    }.values(),
    ids=str,
)  # fmt: skip
def test_what_is_no_picture_is_refused_with_the_reason(value, reason):
    with pytest.raises(BadImageError, match=reason):
        pixels_of(value, 32)


def test_the_error_calls_a_picture_by_the_name_given():
    with pytest.raises(BadImageError, match=r"^row 7: an array of"):
        pixels_of(np.zeros((8, 8)), 32, name="row 7")


def test_an_image_of_pillow_over_the_limit_is_refused_before_it_is_loaded(monkeypatch):
    image = Image.new("1", (1, 1))
    monkeypatch.setattr(type(image), "width", MAX_PIXELS + 1)
    with pytest.raises(BadImageError, match="more than 100 million"):
        pixels_of(image, 32)


def test_texts_of_strangers_are_never_paths(tmp_path):
    path = tmp_path / "secret.jpg"
    path.write_bytes(JPEG)
    for value in (str(path), path):
        with pytest.raises(BadImageError) as caught:
            pixels_of(value, 32, allow_paths=False)
        assert "secret" not in str(caught.value)
    assert np.array_equal(pixels_of(base64_text(JPEG), 32, allow_paths=False), training_pixels(JPEG))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "an empty text is no picture"),
        (" \n", "an empty text is no picture"),
        (Image.new("RGB", (0, 0)), "an image of 0x0 has no pixels"),
        (Image.new("L", (3, 0)), "an image of 3x0 has no pixels"),
    ],
)
@pytest.mark.parametrize("allow_paths", [True, False])
def test_nothing_is_no_picture(value, reason, allow_paths):
    with pytest.raises(BadImageError) as refused:
        pixels_of(value, 8, allow_paths=allow_paths)
    assert refused.value.reason == reason
