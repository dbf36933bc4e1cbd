import numpy as np
import pytest

from thaw.data.decode import BadImageError, DecodeOptions, decode

from .decoding import decoded_pixels, refused
from .handmade_files import CHUNKY, PLANAR, grey_tiff, tiff_file
from .pictures import encoded, noise

GREY, RGB, PALETTE, INKS, LAB, ICC_LAB = 1, 2, 3, 5, 8, 9


def tiff(order, bits, photometric, planes, arrangement=PLANAR, extra=None, short=True):
    """An uncompressed TIFF of one line. planes: (channels, width); short: see `tiff_file`."""
    if bits < 8:
        strips = [bytes([int("".join(f"{level:0{bits}b}" for level in plane), 2)]) for plane in planes]
    else:
        levels = np.asarray(planes).astype(f"{'<' if order == 'II' else '>'}u{bits // 8}")
        strips = [plane.tobytes() for plane in levels] if arrangement == PLANAR else [levels.T.tobytes()]
    channels, width = np.shape(planes)
    layout = {"width": width, "channels": channels, "arrangement": arrangement, "short_arrangement": short}
    return tiff_file(order, bits, photometric, strips, extra=extra, **layout)


def line(content, **options):
    return np.asarray(decode(content, **options).image)[0].tolist()


COLOURS = np.array([[10, 20, 30, 40], [60, 70, 80, 90], [110, 120, 130, 140]])
BOTH_ORDERS = pytest.mark.parametrize("order", ["II", "MM"])


@BOTH_ORDERS
@pytest.mark.parametrize("arrangement", [CHUNKY, PLANAR])
def test_colours_are_the_same_in_planes_and_not_in_8_and_16_bits(order, arrangement):
    expected = COLOURS.T.tolist()
    assert line(tiff(order, 8, RGB, COLOURS, arrangement)) == expected
    assert line(tiff(order, 16, RGB, COLOURS * 257, arrangement)) == expected
    alpha = np.vstack([COLOURS * 257, [[65535, 65535, 65535, 0]]])
    assert line(tiff(order, 16, RGB, alpha, arrangement, extra=2)) == [*expected[:3], [255] * 3]


@BOTH_ORDERS
@pytest.mark.parametrize("white_is_zero", [True, False])
@pytest.mark.parametrize(("bits", "top"), [(1, 1), (2, 3), (4, 15), (8, 255), (16, 65535)])
def test_a_single_channel_is_read_right_when_it_is_said_to_have_a_plane_of_its_own(order, white_is_zero, bits, top):
    if (order, bits, white_is_zero) == ("MM", 16, True):
        return  # refused by name
    width = 8 // bits if bits < 8 else 2
    for short in (True, False):
        content = tiff(order, bits, int(not white_is_zero), [[0] + [top] * (width - 1)], short=short)
        assert line(content)[:2] == ([[255] * 3, [0] * 3] if white_is_zero else [[0] * 3, [255] * 3])


@BOTH_ORDERS
def test_planes_that_would_be_read_wrongly_are_refused_by_name(order):
    for bits, photometric, channels in ((8, LAB, 3), (16, INKS, 4)):
        kind, reason = refused(tiff(order, bits, photometric, np.ones((channels, 4), int)))
        assert kind == "unsupported_variant"
        assert "a plane a channel" in reason


@BOTH_ORDERS
def test_channels_that_are_not_read_are_named_and_not_called_damage(order):
    kinds = {
        "2 channels of 16 bits (grey)": tiff(order, 16, GREY, np.ones((2, 4), int), CHUNKY, extra=2),
        "5 channels of 8 bits (grey)": tiff(order, 8, GREY, np.ones((5, 4), int), CHUNKY),
        "3 channels of 8 bits (ICC Lab)": tiff(order, 8, ICC_LAB, np.ones((3, 4), int), CHUNKY),
        "1 channel of 16 bits (palette)": tiff(order, 16, PALETTE, np.ones((1, 4), int), CHUNKY),
    }
    for name, content in kinds.items():
        kind, reason = refused(content)
        assert kind == "unsupported_variant"
        assert f"TIFF of {name} is not read" in reason


def test_bits_of_colours_in_planes_cannot_be_told_and_that_is_said():
    kind, reason = refused(tiff("II", 16, RGB, COLOURS, PLANAR), options=DecodeOptions(12))
    assert kind == "unsupported_variant"
    assert "dataset.bits" in reason
    expected = np.round(COLOURS * 16 * 255 / 4095).astype(int).T.tolist()
    assert line(tiff("II", 16, RGB, COLOURS * 16, CHUNKY), options=DecodeOptions(12)) == expected


def test_a_tiff_shows_the_same_however_it_is_packed():
    for packing in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        assert np.array_equal(
            decoded_pixels(encoded(noise(9, 7), "TIFF", compression=packing)), np.asarray(noise(9, 7))
        )


def test_a_tiff_with_0_for_white_is_not_shown_as_a_negative():
    for white, expected in ((False, [0, 128]), (True, [255, 127])):
        assert decoded_pixels(grey_tiff("II", 16, b"\0\0\x80\x80", white_is_zero=white))[0, :, 0].tolist() == expected
        for order in ("II", "MM"):
            assert decoded_pixels(grey_tiff(order, 8, b"\0\x80", white_is_zero=white))[0, :, 0].tolist() == expected
    assert decoded_pixels(grey_tiff("MM", 16, b"\x10\0\x80\x80"))[0, :, 0].tolist() == [16, 128]


@pytest.mark.parametrize("order", ["II", "MM"])
def test_tiffs_that_would_be_shown_too_dark_or_inverted_are_refused_by_name(order):
    contents = {
        "12 bits": ("unsupported_variant", grey_tiff(order, 12, bytes(3))),
        "signed": ("unsupported_variant", grey_tiff(order, 16, bytes(4), sample_format=2)),
        "8-bit, signed": ("unsupported_variant", grey_tiff(order, 8, bytes(2), sample_format=2)),
        "32 bits": ("unsupported_pixels", grey_tiff(order, 32, bytes(8))),
        "32 bits, signed": ("unsupported_pixels", grey_tiff(order, 32, bytes(8), sample_format=2)),
        "floating-point": ("unsupported_pixels", grey_tiff(order, 16, bytes(4), sample_format=3)),
    }
    for name, (kind, content) in contents.items():
        assert refused(content)[0] == kind, name
    with pytest.raises(BadImageError, match="0 for white"):
        decode(grey_tiff("MM", 16, bytes(4), white_is_zero=True))
