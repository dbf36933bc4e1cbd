import struct

import numpy as np
import pytest
from PIL import Image

from thaw.data import decode as decoder
from thaw.data.decode import BadImageError, decode, resize

from .decoding import decoded_pixels
from .handmade_files import png_line
from .pictures import BLUE, GREEN, RED, WHITE, encoded, noise, photo, turned


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF"])
def test_lossless_formats_give_back_what_was_saved(kind):
    image = noise(5, 3)
    assert np.array_equal(decoded_pixels(encoded(image, kind)), np.asarray(image))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "JPEG2000", "GIF"])
def test_lossy_formats_are_read(kind):
    assert np.abs(decoded_pixels(encoded(Image.new("RGB", (16, 16), RED), kind)).astype(int) - RED).max() < 12


def test_the_content_decides_and_not_the_file_name(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(noise(4, 4), "PNG"))
    assert np.array_equal(decoded_pixels(path), np.asarray(noise(4, 4)))


UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: stored.transpose(1, 0, 2)[:, ::-1],
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: stored.transpose(1, 0, 2)[::-1],
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_a_photo_is_turned_upright(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"WEBP": {"lossless": True}, "TIFF": {"tiffinfo": {274: orientation}}}.get(kind, {})
    stored = decoded_pixels(
        encoded(noise(50, 30), kind, **{key: value for key, value in options.items() if key == "lossless"})
    )
    turned_upright = decoded_pixels(encoded(noise(50, 30), kind, exif=exif, **options))
    assert np.array_equal(turned_upright, UPRIGHT[orientation](stored))


def test_damaged_exif_does_not_cost_the_photo():
    assert decoded_pixels(encoded(noise(4, 4), "PNG", exif=b"Exif\0\0no tiff")).shape == (4, 4, 3)


def test_cmyk_keeps_its_colours():
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    assert np.abs(decoded_pixels(encoded(cyan, "JPEG", quality=95)).astype(int) - (0, 255, 255)).max() < 6
    assert tuple(decoded_pixels(encoded(cyan, "TIFF"))[0, 0]) == (0, 255, 255)


def test_16_bit_grey_keeps_its_range():
    levels = np.array([[0, 400, 32896, 65535]], np.uint16)
    expected = [0, 2, 128, 255]
    assert decoded_pixels(encoded(Image.fromarray(levels), "PNG"))[0, :, 0].tolist() == expected
    assert decoded_pixels(encoded(Image.fromarray(levels), "TIFF"))[0, :, 0].tolist() == expected
    assert decoded_pixels(b"P5 4 1 65535\n" + levels.astype(">u2").tobytes())[0, :, 0].tolist() == expected  # mode I


def test_transparent_16_bit_grey_is_laid_on_white():
    levels = Image.fromarray(np.array([[0, 400, 65535]], np.uint16))
    assert decoded_pixels(encoded(levels, "PNG", transparency=400))[0, :, 0].tolist() == [0, 255, 255]


def test_16_bit_colours_keep_their_range():
    samples = np.array([[0, 400, 32896], [65535, 255, 256]], ">u2")
    assert decoded_pixels(png_line(2, 16, 2, samples))[0].tolist() == [[0, 1, 128], [255, 0, 1]]
    assert decoded_pixels(png_line(2, 16, 4, np.array([[32896, 65535], [0, 0]], ">u2")))[0].tolist() == [
        [128] * 3,
        [255] * 3,
    ]
    assert decoded_pixels(png_line(1, 16, 6, np.array([[65535, 0, 32896, 65535]], ">u2")))[0].tolist() == [
        [255, 0, 128]
    ]
    assert decoded_pixels(b"P6 2 1 65535\n" + samples.tobytes())[0].tolist() == [[0, 2, 128], [255, 1, 1]]


@pytest.mark.parametrize(
    ("depth", "samples", "clear", "expected"),
    [
        (1, b"\x55", 0, [255] * 8),
        (2, b"\x1b", 1, [0, 255, 170, 255]),
        (4, b"\x01\x23", 2, [0, 17, 255, 51]),
        (8, b"\0\1\2\3", 2, [0, 1, 255, 3]),
        (16, b"\0\0\1\2", 258, [0, 255]),
    ],
)
def test_a_transparent_level_of_grey_is_laid_on_white_at_every_depth(depth, samples, clear, expected):
    content = png_line(len(expected), depth, 0, np.frombuffer(samples, np.uint8), struct.pack(">H", clear))
    assert decoded_pixels(content)[0, :, 0].tolist() == expected


def test_a_transparent_colour_of_16_bits_is_refused_by_name():
    samples = np.array([[1, 2, 3], [4, 5, 6]], ">u2")
    with pytest.raises(BadImageError, match="transparent colour"):
        decode(png_line(2, 16, 2, samples, struct.pack(">HHH", 1, 2, 3)))
    assert decoded_pixels(png_line(2, 8, 2, samples.astype("u1"), struct.pack(">HHH", 1, 2, 3)))[0].tolist() == [
        [255] * 3,
        [4, 5, 6],
    ]


def test_a_palette_is_looked_up():
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "L").convert("P")
    image.putpalette([*RED, *GREEN, *BLUE])
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        assert decoded_pixels(encoded(image, kind))[0].tolist() == [[*RED], [*GREEN], [*BLUE]]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_grey_and_single_bits_become_three_equal_channels(kind):
    grey = Image.fromarray(np.array([[0, 77, 255]], np.uint8))
    assert decoded_pixels(encoded(grey, kind))[0].tolist() == [[0] * 3, [77] * 3, [255] * 3]
    assert decoded_pixels(encoded(Image.fromarray(np.array([[False, True]])), kind))[0].tolist() == [[0] * 3, [255] * 3]


def test_lossless_webp_gives_back_what_was_saved_and_its_alpha_is_laid_on_white():
    assert np.array_equal(decoded_pixels(encoded(noise(5, 3), "WEBP", lossless=True)), np.asarray(noise(5, 3)))
    rgba = Image.fromarray(np.array([[(*RED, 0), (*RED, 255)]], np.uint8))
    assert decoded_pixels(encoded(rgba, "WEBP", lossless=True, exact=True))[0].tolist() == [[*WHITE], [*RED]]
    assert decoded_pixels(encoded(rgba, "TIFF"))[0].tolist() == [[*WHITE], [*RED]]


def test_a_progressive_jpeg_shows_what_a_plain_one_does():
    plain, progressive = (decoded_pixels(encoded(photo(64, 48), "JPEG", progressive=way)) for way in (False, True))
    assert np.array_equal(plain, progressive)


def test_pixels_without_a_known_range_are_refused():
    with pytest.raises(BadImageError, match="floating-point"):
        decode(encoded(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"))
    with pytest.raises(BadImageError, match="32-bit"):
        decode(encoded(Image.fromarray(np.full((2, 2), 7, np.int32)), "TIFF"))


def test_transparency_is_laid_on_white():
    rgba = np.array([[(*RED, 0), (*RED, 255), (0, 0, 0, 128)]], np.uint8)  # red lies hidden under the first
    assert decoded_pixels(encoded(Image.fromarray(rgba), "PNG"))[0].tolist() == [[*WHITE], [*RED], [127, 127, 127]]
    grey = Image.fromarray(np.array([[0, 0]], np.uint8))
    grey.putalpha(Image.fromarray(np.array([[0, 255]], np.uint8)))
    assert decoded_pixels(encoded(grey, "PNG"))[0].tolist() == [[*WHITE], [0, 0, 0]]


def test_a_transparent_palette_colour_is_laid_on_white():
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    image.putpalette([*RED, *BLUE])
    assert decoded_pixels(encoded(image, "PNG", transparency=0))[0].tolist() == [[*WHITE], [*BLUE]]
    assert decoded_pixels(encoded(image, "PNG", transparency=bytes([255, 0])))[0].tolist() == [[*RED], [*WHITE]]
    assert decoded_pixels(encoded(image, "GIF", transparency=0))[0].tolist() == [[*WHITE], [*BLUE]]


def test_a_transparent_colour_without_alpha_is_laid_on_white():
    image = Image.fromarray(np.array([[RED, GREEN]], np.uint8))
    assert decoded_pixels(encoded(image, "PNG", transparency=RED))[0].tolist() == [[*WHITE], [*GREEN]]


@pytest.mark.parametrize(
    ("kind", "note"),
    [("GIF", "frames"), ("WEBP", "frames"), ("PNG", "frames"), ("TIFF", "pictures"), ("MPO", "pictures")],
)
def test_of_several_pictures_the_first_is_taken_and_that_is_noted(kind, note):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (GREEN, RED, BLUE)]
    options = {"WEBP": {"lossless": True}, "MPO": {"quality": 95}}.get(kind, {})
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert np.abs(decoded_pixels(content).astype(int) - GREEN).max() <= (2 if kind == "MPO" else 0)
    assert decode(content).note == f"first of 3 {note}"
    assert decode(encoded(frames[0], "JPEG" if kind == "MPO" else kind)).note == ""


def test_a_picture_says_what_its_file_is():
    kinds = {
        (picture.format, picture.mode)
        for picture in map(decode, [encoded(noise(9, 9).convert("CMYK"), "JPEG"), encoded(noise(9, 9), "MPO")])
    }
    assert kinds == {("JPEG", "CMYK"), ("JPEG", "RGB")}
    assert decode(encoded(Image.fromarray(np.zeros((2, 2), np.uint16)), "PNG")).mode == "I;16"


def test_resizing_squashes_to_the_exact_size():
    halves = Image.new("RGB", (40, 10), RED)
    halves.paste(BLUE, (20, 0, 40, 10))
    small = np.asarray(resize(halves, (4, 6)))
    assert small.shape == (6, 4, 3)
    assert small[0, 0].tolist() == [*RED]
    assert small[0, -1].tolist() == [*BLUE]


def test_shrinking_averages_instead_of_picking_pixels():
    checks = np.indices((64, 64)).sum(0) % 2 * 255
    small = np.asarray(resize(Image.fromarray(checks.astype(np.uint8)).convert("RGB"), (8, 8)))
    assert np.abs(small.astype(int) - 127).max() < 10


@pytest.mark.parametrize("size", [(800, 600), (801, 607), (511, 999), (130, 1000)])
@pytest.mark.parametrize("target", [(16, 16), (32, 32), (33, 50), (100, 100), (400, 300)])
def test_a_jpeg_is_decoded_as_small_as_leaves_twice_its_target(size, target):
    picture = decode(encoded(photo(*size), "JPEG"), size=target)
    assert (picture.width, picture.height) == size
    room = min(size[0] // (2 * target[0]), size[1] // (2 * target[1]))
    scale = max(n for n in (1, 2, 4, 8) if n <= max(room, 1))
    assert picture.image.size == tuple(-(-side // scale) for side in size)
    assert picture.box == (0, 0, size[0] / scale, size[1] / scale)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_photo_shows_what_the_whole_one_does_however_it_is_turned(orientation):
    content = turned(photo(603, 453), orientation)  # neither side is divisible: libjpeg adds a part of a pixel
    whole, reduced = decode(content), decode(content, size=(20, 20))
    assert min(reduced.image.size) < min(whole.image.size) / 7
    assert (reduced.width, reduced.height) == (whole.width, whole.height) == whole.image.size
    assert np.abs(reduced.resized(20).astype(int) - whole.resized(20)).max() <= 2


def test_the_target_is_that_of_the_upright_picture():
    assert decode(turned(photo(400, 200), 6), size=(25, 50)).image.size == (50, 100)  # not 25x50, as it is stored


def test_only_plain_jpegs_are_reduced():
    kinds = {
        "CMYK": encoded(photo(160, 160).convert("CMYK"), "JPEG"),
        "PNG": encoded(photo(160, 160), "PNG"),
        "grey": encoded(photo(160, 160).convert("L"), "JPEG"),
    }
    widths = {name: decode(content, size=(10, 10)).image.width for name, content in kinds.items()}
    assert widths == {"CMYK": 160, "PNG": 160, "grey": 20}


def test_a_phones_jpeg_with_two_pictures_in_it_is_reduced_and_shows_the_first():
    content = encoded(photo(160, 160), "MPO", save_all=True, append_images=[photo(160, 160, 1)])
    picture = decode(content, size=(10, 10))
    assert picture.image.size == (20, 20)
    assert np.abs(picture.resized(10).astype(int) - decode(content).resized(10)).mean() < 4


def test_small_pictures_stay_as_they_are_and_others_are_squashed():
    assert decode(encoded(noise(8, 3), "PNG")).downsized(8).shape == (3, 8, 3)
    assert decode(encoded(noise(9, 3), "PNG")).downsized(8).shape == (8, 8, 3)
    assert decode(encoded(photo(160, 160), "JPEG"), size=(8, 8)).downsized(30).shape == (30, 30, 3)  # decoded at 20x20


def test_networks_see_what_was_decoded_resized_from_a_path_or_bytes(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(noise(30, 20), "JPEG"))
    expected = np.asarray(resize(decode(path).image, (24, 24)))
    assert np.array_equal(decode(path, size=(24, 24)).resized(24), expected)
    assert np.array_equal(decode(path.read_bytes(), "it", (24, 24)).resized(24), expected)
    with pytest.raises(BadImageError, match=r"it: the file is empty"):
        decode(b"", "it", (24, 24))


def test_running_out_of_memory_is_no_fault_of_the_picture(monkeypatch):
    def fail(_):
        raise MemoryError

    monkeypatch.setattr(decoder, "_turn_upright", fail)
    with pytest.raises(MemoryError):
        decode(encoded(noise(4, 4), "PNG"))
