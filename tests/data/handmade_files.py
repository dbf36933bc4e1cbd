"""PNG and TIFF files built byte by byte, of kinds that Pillow does not write."""

import struct
import zlib

CHUNKY, PLANAR = 1, 2


def png_chunk(chunk_type, data):
    return struct.pack(">I", len(data)) + chunk_type + data + struct.pack(">I", zlib.crc32(chunk_type + data))


def png_file(width, height, bits, colour_type, *, compressed=None, before=b""):
    """Return a PNG. compressed: its pixels, by default one black one; before: chunks before these."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    data = zlib.compress(bytes(4)) if compressed is None else compressed
    chunks = png_chunk(b"IHDR", header) + before + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def png_line(width, bits, colour_type, samples, transparent=b""):
    """Return a PNG of one line. samples: an array of big-endian numbers; transparent: the tRNS chunk's data."""
    before = png_chunk(b"tRNS", transparent) if transparent else b""
    compressed = zlib.compress(b"\0" + samples.tobytes())
    return png_file(width, 1, bits, colour_type, compressed=compressed, before=before)


def tiff_file(
    order, bits, photometric, strips, *, width=2, channels=1, arrangement=CHUNKY, short_arrangement=True, **more
):
    """Return a TIFF of one line. order: II or MM; strips: of bytes; more: values of compression, extra, sample_format.

    short_arrangement: the arrangement is given in 16 bits and not in 32.
    """
    end = {"II": "<", "MM": ">"}[order]
    optional = {"compression": 259, "extra": 338, "sample_format": 339}
    tags = {256: [width], 257: [1], 258: [bits] * channels, 259: [1], 262: [photometric], 277: [channels], 278: [1]}
    tags |= {273: [0] * len(strips), 279: [len(strip) for strip in strips], 284: [arrangement]}
    tags |= {optional[name]: [value] for name, value in more.items() if value is not None}
    start = 8 + 2 + 12 * len(tags) + 4
    data = start + 4 * sum(len(values) for values in tags.values() if len(values) > 1)
    tags[273] = [data + sum(map(len, strips[:i])) for i in range(len(strips))]
    entries = long_values = b""
    for tag, values in sorted(tags.items()):
        is_short = tag == 284 and short_arrangement
        packed = struct.pack(f"{end}{len(values)}I", *values)
        entries += struct.pack(f"{end}HHI", tag, 3 if is_short else 4, len(values))
        if len(values) > 1:
            entries += struct.pack(f"{end}I", start + len(long_values))
            long_values += packed
        else:
            entries += struct.pack(f"{end}HH", values[0], 0) if is_short else packed
    header = order.encode() + struct.pack(f"{end}HIH", 42, 8, len(tags))
    return header + entries + bytes(4) + long_values + b"".join(strips)


def grey_tiff(order, bits, samples, *, white_is_zero=False, sample_format=None):
    """Return a grey TIFF of one line of two pixels. samples: the bytes of both."""
    return tiff_file(order, bits, 0 if white_is_zero else 1, [samples], sample_format=sample_format)
