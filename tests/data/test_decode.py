import numpy as np
import pytest
from PIL import Image

from thaw.data import decode as decoder
from thaw.data.decode import BadImage, decode, fitted, resize

from .pictures import BLUE, GREEN, RED, WHITE, encoded, noise, photo, turned


def pixels(source):
    picture = decode(source)
    assert picture.image.mode == "RGB"
    assert picture.image.size == (picture.width, picture.height)
    return np.asarray(picture.image)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF"])
def test_lossless_formats_give_back_what_was_saved(kind):
    image = noise(5, 3)
    assert np.array_equal(pixels(encoded(image, kind)), np.asarray(image))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "JPEG2000", "GIF"])
def test_lossy_formats_are_read(kind):
    assert np.abs(pixels(encoded(Image.new("RGB", (16, 16), RED), kind)).astype(int) - RED).max() < 12


def test_the_content_decides_and_not_the_file_name(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(noise(4, 4), "PNG"))
    assert np.array_equal(pixels(path), np.asarray(noise(4, 4)))


@pytest.mark.parametrize(("orientation", "turn"), [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_270)])
def test_a_photo_is_turned_upright(orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = noise(5, 3)
    assert np.array_equal(pixels(encoded(image, "PNG", exif=exif)), np.asarray(image.transpose(turn)))


def test_damaged_exif_does_not_cost_the_photo():
    assert pixels(encoded(noise(4, 4), "PNG", exif=b"Exif\0\0no tiff")).shape == (4, 4, 3)


def test_cmyk_keeps_its_colours():
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    assert np.abs(pixels(encoded(cyan, "JPEG", quality=95)).astype(int) - (0, 255, 255)).max() < 6
    assert tuple(pixels(encoded(cyan, "TIFF"))[0, 0]) == (0, 255, 255)


def test_16_bit_grey_keeps_its_range():
    levels = np.array([[0, 400, 32896, 65535]], np.uint16)
    expected = [0, 2, 128, 255]
    assert pixels(encoded(Image.fromarray(levels), "PNG"))[0, :, 0].tolist() == expected
    assert pixels(encoded(Image.fromarray(levels), "TIFF"))[0, :, 0].tolist() == expected
    assert pixels(b"P5 4 1 65535\n" + levels.astype(">u2").tobytes())[0, :, 0].tolist() == expected  # mode I


def test_pixels_without_a_known_range_are_refused():
    with pytest.raises(BadImage, match="floating-point"):
        decode(encoded(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"))
    with pytest.raises(BadImage, match="70000"):
        decode(encoded(Image.fromarray(np.full((2, 2), 70000, np.int32)), "TIFF"))


def test_transparency_is_laid_on_white():
    rgba = np.array([[(*RED, 0), (*RED, 255), (0, 0, 0, 128)]], np.uint8)  # red lies hidden under the first
    assert pixels(encoded(Image.fromarray(rgba), "PNG"))[0].tolist() == [[*WHITE], [*RED], [127, 127, 127]]
    grey = Image.fromarray(np.array([[0, 0]], np.uint8))
    grey.putalpha(Image.fromarray(np.array([[0, 255]], np.uint8)))
    assert pixels(encoded(grey, "PNG"))[0].tolist() == [[*WHITE], [0, 0, 0]]


def test_a_transparent_palette_colour_is_laid_on_white():
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    image.putpalette([*RED, *BLUE])
    assert pixels(encoded(image, "PNG", transparency=0))[0].tolist() == [[*WHITE], [*BLUE]]
    assert pixels(encoded(image, "PNG", transparency=bytes([255, 0])))[0].tolist() == [[*RED], [*WHITE]]
    assert pixels(encoded(image, "GIF", transparency=0))[0].tolist() == [[*WHITE], [*BLUE]]


def test_a_transparent_colour_without_alpha_is_laid_on_white():
    image = Image.fromarray(np.array([[RED, GREEN]], np.uint8))
    assert pixels(encoded(image, "PNG", transparency=RED))[0].tolist() == [[*WHITE], [*GREEN]]


def test_an_animation_shows_its_first_frame():
    frames = [Image.new("RGB", (4, 4), colour) for colour in (GREEN, RED)]
    assert pixels(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))[0, 0].tolist() == [*GREEN]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_a_truncated_picture_is_refused_and_named(tmp_path, kind):
    path = tmp_path / "half.img"
    whole = encoded(noise(64, 64), kind)
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(BadImage, match=r"half\.img: \w+") as caught:
        decode(path)
    assert caught.value.path == str(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"<html>not found</html>", "not a picture"), (encoded(noise(4, 4), "PCX"), "PCX is not read")],
)
def test_what_is_no_picture_is_refused(content, reason):
    with pytest.raises(BadImage, match=reason):
        decode(content)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadImage, match=r"gone\.jpg: no such file"):
        decode(tmp_path / "gone.jpg")


def test_a_name_that_is_not_text_can_be_printed(tmp_path):
    assert str(BadImage("caf\udce9.jpg", "bad", "empty")).encode() == rb"caf\udce9.jpg: bad"


def test_too_many_pixels_are_refused_before_memory_is_taken(recwarn):
    header = b"P6 %d %d 255\n"  # and no pixels: only the header is read
    for width, height in [(10_001, 10_000), (100_000, 100_000)]:
        with pytest.raises(BadImage, match="100 million"):
            decode(header % (width, height))
    assert not recwarn.list


def test_the_pixel_limit_itself_is_allowed(monkeypatch):
    monkeypatch.setattr(decoder, "MAX_PIXELS", 12)
    assert pixels(encoded(noise(4, 3), "PNG")).shape == (3, 4, 3)
    with pytest.raises(BadImage, match="13x1"):
        decode(encoded(noise(13, 1), "PNG"))


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
    assert np.abs(reduced.fitted(20).astype(int) - whole.fitted(20)).max() <= 2


def test_the_target_is_that_of_the_upright_picture():
    assert decode(turned(photo(400, 200), 6), size=(25, 50)).image.size == (50, 100)  # not 25x50, as it is stored


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.995])
def test_a_truncated_photo_is_refused_at_any_scale(progressive, share):
    content = encoded(noise(1000, 800), "JPEG", progressive=progressive)
    for size in (None, (20, 20)):
        with pytest.raises(BadImage, match="truncated"):
            decode(content[: int(len(content) * share)], size=size)


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
    assert np.abs(picture.fitted(10).astype(int) - decode(content).fitted(10)).mean() < 4


def test_small_pictures_are_kept_as_they_are_and_others_squashed():
    assert decode(encoded(noise(8, 3), "PNG")).at_most(8).shape == (3, 8, 3)
    assert decode(encoded(noise(9, 3), "PNG")).at_most(8).shape == (8, 8, 3)
    assert decode(encoded(photo(160, 160), "JPEG"), size=(8, 8)).at_most(30).shape == (30, 30, 3)  # decoded at 20x20


def test_fitting_is_resizing_what_was_decoded(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(noise(30, 20), "JPEG"))
    expected = np.asarray(resize(decode(path).image, (24, 24)))
    assert np.array_equal(fitted(path, 24), expected)
    assert np.array_equal(fitted(path.read_bytes(), 24, name="it"), expected)
    with pytest.raises(BadImage, match=r"it: the file is empty"):
        fitted(b"", 24, name="it")
