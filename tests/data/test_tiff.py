import struct

import numpy as np
import pytest

from thaw.data.decode import BadImageError, DecodeOptions, decode

GREY, RGB, PALETTE, INKS, LAB, ICC_LAB = 1, 2, 3, 5, 8, 9
CHUNKY, PLANAR = 1, 2


def tiff(order, bits, photometric, planes, arrangement=PLANAR, extra=None, short=True):
    """An uncompressed TIFF by hand, one line high: Pillow writes few kinds.

    planes: (channels, width), of their bits; short: the arrangement is given in 16 bits and not in 32.
    """
    end = {"II": "<", "MM": ">"}[order]
    channels, width = np.shape(planes)
    if bits < 8:
        strips = [bytes([int("".join(f"{level:0{bits}b}" for level in plane), 2)]) for plane in planes]
    else:
        whole = np.asarray(planes).astype(f"{end}u{bits // 8}")
        strips = [plane.tobytes() for plane in whole] if arrangement == PLANAR else [whole.T.tobytes()]
    tags = {256: [width], 257: [1], 258: [bits] * channels, 259: [1], 262: [photometric], 277: [channels], 278: [1]}
    tags |= {273: [0] * len(strips), 279: [len(strip) for strip in strips], 284: [arrangement]}
    tags |= {338: [extra]} if extra is not None else {}
    start = 8 + 2 + 12 * len(tags) + 4
    data = start + 4 * sum(len(values) for values in tags.values() if len(values) > 1)
    tags[273] = [data + sum(map(len, strips[:i])) for i in range(len(strips))]
    entries = aside = b""
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"{end}{len(values)}I", *values)
        kind = 3 if tag == 284 and short else 4
        entries += struct.pack(f"{end}HHI", tag, kind, len(values))
        if kind == 3:
            packed = struct.pack(f"{end}HH", values[0], 0)
        entries += packed if len(values) == 1 else struct.pack(f"{end}I", start + len(aside))
        aside += packed if len(values) > 1 else b""
    return order.encode() + struct.pack(f"{end}HIH", 42, 8, len(tags)) + entries + bytes(4) + aside + b"".join(strips)


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


def refused(content, **options):
    with pytest.raises(BadImageError) as caught:
        decode(content, **options)
    return caught.value.kind, caught.value.reason


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
