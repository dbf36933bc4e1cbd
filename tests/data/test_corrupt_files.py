import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from thaw.data import decode as decoder
from thaw.data.corrupt_files import KINDS
from thaw.data.decode import BadImageError, decode

from .decoding import decoded_pixels, refused
from .handmade_files import png_chunk, png_file
from .pictures import encoded, noise, photo


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_a_truncated_picture_is_refused_and_named(tmp_path, kind):
    path = tmp_path / "half.img"
    whole = encoded(noise(64, 64), kind)
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(BadImageError, match=r"half\.img: \w+") as caught:
        decode(path)
    assert caught.value.path == str(path)


def test_too_many_pixels_are_refused_before_memory_is_taken(recwarn):
    header = b"P6 %d %d 255\n"  # and no pixels: only the header is read
    for width, height in [(10_001, 10_000), (100_000, 100_000)]:
        with pytest.raises(BadImageError, match="100 million"):
            decode(header % (width, height))
    assert not recwarn.list


def test_the_pixel_limit_itself_is_allowed(monkeypatch):
    monkeypatch.setattr(decoder, "MAX_PIXELS", 12)
    assert decoded_pixels(encoded(noise(4, 3), "PNG")).shape == (3, 4, 3)
    with pytest.raises(BadImageError, match="13x1"):
        decode(encoded(noise(13, 1), "PNG"))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.995])
def test_a_truncated_photo_is_refused_at_any_scale(progressive, share):
    content = encoded(noise(1000, 800), "JPEG", progressive=progressive)
    for size in (None, (20, 20)):
        with pytest.raises(BadImageError, match="truncated"):
            decode(content[: int(len(content) * share)], size=size)


def test_every_checksum_of_a_png_must_fit():
    content = encoded(noise(64, 64), "PNG")
    for at in range(50, len(content) - 20, 997):
        flipped = bytearray(content)
        flipped[at] ^= 1
        assert refused(bytes(flipped))[0] in ("checksum", "truncated", "damaged")


def test_zeros_in_place_of_a_photos_end_are_refused_and_padding_is_not():
    whole = encoded(photo(200, 200), "JPEG")
    assert refused(whole[: len(whole) // 2] + bytes(len(whole)))[0] == "zero_filled"
    assert np.array_equal(decoded_pixels(whole + bytes(4096)), decoded_pixels(whole))
    black = encoded(Image.new("L", (900, 900)), "JPEG", optimize=True)
    assert bytes(512) in black  # zeros are what a flat picture is made of
    assert decoded_pixels(black).max() == 0


def test_a_header_that_lies_is_told_from_a_large_picture():
    assert refused(b"P6 10001 10000 255\n" + bytes(200_000))[0] == "too_large"
    assert refused(b"P6 10001 10000 255\n")[0] == "decompression_bomb"
    assert refused(b"P6 100000 100000 255\n")[0] == "decompression_bomb"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000", "MPO"])
def test_whatever_happened_to_a_file_it_is_decoded_or_its_fault_has_a_kind(kind):
    rng = np.random.default_rng(0)
    whole = encoded(noise(9, 7), kind)
    for at in [*range(40), *rng.integers(0, len(whole), 60).tolist()]:
        changed = bytearray(whole)
        changed[at % len(whole) :: 1000] = rng.bytes(len(changed[at % len(whole) :: 1000]))
        for content in (whole[:at], bytes(changed)):
            fault, reason = outcome(content)
            assert fault in {"", *KINDS}
            assert reason.isprintable()


def outcome(content):
    try:
        assert decode(content, size=(8, 8)).resized(8).shape == (8, 8, 3)
    except BadImageError as bad:
        return bad.kind, bad.reason
    return "", ""


def png_with_metadata(chunk_type, text):
    """A PNG of one black pixel with compressed metadata."""
    head = {b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0", b"iCCP": b"a\0\0"}[chunk_type]
    return png_file(1, 1, 8, 2, before=png_chunk(chunk_type, head + zlib.compress(text)))


LONG = np.random.default_rng(0).integers(32, 127, 2_000_000, np.uint8).tobytes()  # packs by less than 2


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_png_with_megabytes_of_text_or_profile_is_read(kind):
    assert decoded_pixels(png_with_metadata(kind, LONG))[0].tolist() == [[0, 0, 0]]
    assert decoded_pixels(png_with_metadata(kind, bytes(2**20)))[0].tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_text_that_unpacks_a_thousandfold_is_refused_and_not_unpacked(kind):
    content = png_with_metadata(kind, bytes(50_000_000))
    tracemalloc.start()
    assert refused(content)[0] == "decompression_bomb"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30_000_000


@pytest.mark.slow
def test_more_text_than_there_is_memory_for_is_not_called_damaged():
    assert refused(png_file(1, 1, 8, 2, before=png_chunk(b"tEXt", b"a\0" + b"x" * 70_000_000)))[0] == "too_large"
    assert refused(png_with_metadata(b"zTXt", LONG * 35))[0] == "too_large"
