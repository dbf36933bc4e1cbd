"""Diagnose files that cannot be used: the kinds of fault, and how each is told from the file's bytes."""

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress

from PIL import UnidentifiedImageError

from thaw.data import tiff
from thaw.data.file_signatures import identify_foreign, readable_format

KINDS = {
    "empty": "the file has no bytes",
    "truncated": "it ends before the picture does",
    "zero_filled": "zero bytes stand where the picture or its end should be: a download or a disk that failed",
    "checksum": "a checksum inside the file does not fit what it holds",
    "damaged": "it begins like a picture and cannot be decoded",
    "no_pixels": "a picture without width, height or frame",
    "too_large": "more pixels than are decoded, or more text and profiles beside them",
    "decompression_bomb": "a few bytes that ask for an enormous amount of memory",
    "unsupported_format": "a picture in a format that is not read: HEIC, camera raw, PSD, SVG, ...",
    "unsupported_variant": "a rare kind of a format that is read: lossless or 12-bit JPEG, signed TIFF, ...",
    "out_of_range": "pixels above what dataset.bits says is the highest value",
    "unsupported_pixels": "pixels without a known range: floating-point or 32-bit",
    "web_page": "HTML or XML under a picture's name: often a server's error message",
    "text": "text under a picture's name",
    "document": "a PDF or an office document under a picture's name",
    "archive": "a packed file under a picture's name",
    "video": "a video under a picture's name",
    "audio": "a sound under a picture's name",
    "program": "a program under a picture's name",
    "data_file": "an array or a database under a picture's name",
    "lfs_pointer": "a pointer of Git LFS: the picture itself was never fetched",
    "resource_fork": "what macOS keeps about a picture, and not the picture",
    "not_an_image": "bytes of no known kind",
    "missing": "it was listed, and is gone",
    "broken_link": "a link to nothing",
    "link_loop": "a link that leads back to itself",
    "not_a_file": "a pipe, a socket, a device or a folder under a picture's name",
    "no_permission": "it may not be read",
    "unreadable": "the system cannot read it",
}
"""Kinds of bad files, as manifests, bad_files.csv and the cache name them, and what each means."""

MAX_METADATA_BYTES = 64 * 2**20  # of a PNG's text or profile, decompressed
# Metadata is read up to so many decompressed bytes, or so many times its compressed bytes: text compresses 3 to 30
# times, zeros 1000 times.
_SMALL_METADATA_BYTES, _MAX_COMPRESSION = 2**20, 200
_NOT_READ = re.compile(r"(?i)unsupported|not supported|unknown \w+ (mode|method)|not available|cannot handle")
_TRUNCATED = re.compile(r"(?i)truncated|but only got|unexpected end|eof")
_START_OF_SCAN = 0xDA  # a JPEG's marker


def diagnose_bad_file(error: Exception, content: bytes) -> tuple[str, str]:
    """Return the kind (a key of `KINDS`) and the reason why Pillow raised `error` on a file's bytes."""
    message = str(error) or type(error).__name__
    format_name = readable_format(content)
    if not content:
        return "empty", "the file is empty"
    if not content.strip(b"\0"):
        return "zero_filled", "nothing but zero bytes"
    if "MAX_TEXT" in message:  # Pillow's limits of a PNG's text
        return "too_large", f"more than {MAX_METADATA_BYTES >> 20} MB of text in it: remove the text"
    if format_name is None:
        return identify_foreign(content)
    if reason := _lack_of_pixels(content, format_name):
        return "no_pixels", reason
    if _TRUNCATED.search(message) or isinstance(error, EOFError) or _is_truncated(content, format_name):
        return "truncated", f"the {format_name} file is truncated"
    opened = not isinstance(error, UnidentifiedImageError)
    if format_name == "TIFF" and (fault := tiff.unsupported_variant(content, opened)):
        return fault
    if format_name == "JPEG" and (reason := _unsupported_jpeg(content)):
        return "unsupported_variant", reason
    if format_name == "PNG" and _has_wrong_checksum(content):
        return "checksum", "a checksum inside the PNG file does not fit"
    if _NOT_READ.search(message):
        return "unsupported_variant", message
    return "damaged", message if opened else f"its header is damaged, though it begins like {format_name}"


def ends_in_zeros(content: bytes) -> bool:
    """Return whether a JPEG's pixel data ends in zero bytes, which readers decode as grey without an error.

    Padding after the end marker is harmless, and so is a missing end marker alone.
    """
    if not content.endswith(bytes(512)):
        return False
    return content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")


def oversized_png_metadata(content: bytes) -> tuple[str, str] | None:
    """Return the kind and reason of a PNG whose text or profile takes too much memory when decompressed, else None.

    Nothing is decompressed further than to its limit. Long metadata is sound: editing histories, workflows, profiles of
    printers.
    """
    for start, end in _png_chunks(content):
        chunk_type = content[start + 4 : start + 8]
        if chunk_type not in (b"zTXt", b"iTXt", b"iCCP"):
            continue
        if 1032 * (end - start) < _SMALL_METADATA_BYTES:  # deflate compresses 1032 times at most
            continue
        compressed = _compressed_metadata(chunk_type, content[start + 8 : end])
        bomb = max(_SMALL_METADATA_BYTES, _MAX_COMPRESSION * len(compressed))
        with suppress(zlib.error):  # Pillow ignores damaged metadata
            length = len(zlib.decompressobj().decompress(compressed, min(bomb, MAX_METADATA_BYTES) + 1))
            if length > bomb:
                reason = f"{len(compressed):,} bytes of text or profile that unpack to over {bomb:,}"
                return "decompression_bomb", reason
            if length > MAX_METADATA_BYTES:
                return "too_large", f"more than {MAX_METADATA_BYTES >> 20} MB of text or profile in it: remove that"
    return None


def _compressed_metadata(chunk_type: bytes, data: bytes) -> bytes:
    """Return the compressed part of a chunk: after the keyword, and of iTXt after language and translated keyword."""
    _, _, rest = data.partition(b"\0")
    if chunk_type != b"iTXt":
        return rest[1:]
    return rest[2:].split(b"\0", 2)[-1] if rest[:1] == b"\1" else b""


def _lack_of_pixels(content: bytes, format_name: str) -> str | None:
    size: tuple[int, ...] = (1, 1)
    if format_name == "PNG" and len(content) >= 24:
        size = struct.unpack(">II", content[16:24])
    elif format_name == "GIF" and len(content) >= 11:
        size = struct.unpack("<HH", content[6:10])
        palette = 3 * 2 ** ((content[10] & 7) + 1) if content[10] & 128 else 0
        if content[13 + palette : 14 + palette] == b";":
            return "it holds no picture"
    elif format_name == "BMP" and len(content) >= 26:
        size = struct.unpack("<ii", content[18:26])
    elif format_name == "JPEG":
        size = next(((width, height) for _, height, width in _jpeg_frames(content)), size)
    return "it has no pixels: width or height is 0" if 0 in size else None


def _is_truncated(content: bytes, format_name: str) -> bool:
    """Return whether headers announce more bytes than there are."""
    if format_name == "JPEG":
        has_scan = any(marker == _START_OF_SCAN for marker, _ in _jpeg_markers(content))
        return not has_scan and not content.endswith(b"\xff\xd9")
    if format_name == "WEBP":
        return len(content) < 12 or int.from_bytes(content[4:8], "little") + 8 > len(content)
    if format_name == "JPEG2000":  # a codestream has an end marker of its own
        return _end_of_boxes(content) > len(content) or not content.rstrip(b"\0").endswith(b"\xff\xd9")
    if format_name == "AVIF":
        return _end_of_boxes(content) > len(content)
    if format_name == "TIFF":
        return int.from_bytes(content[4:8], "little" if content[:2] == b"II" else "big") >= len(content)
    if format_name == "PNG":
        return len(content) < 33 or any(end + 4 > len(content) for _, end in _png_chunks(content))
    return len(content) < {"GIF": 13, "BMP": 54}.get(format_name, 8)


def _end_of_boxes(content: bytes) -> int:
    """Return the offset at which the last box of a JPEG 2000 or AVIF file ends by its header."""
    at = 0
    while 0 <= at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        if length < 8:  # 0: to the end; 1: a 64-bit length, which no picture needs
            return len(content)
        at += length
    return at


def _jpeg_markers(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield a JPEG's markers with the offsets of their segments, up to the first scan or the end of the file."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        yield marker, at + 4
        if marker == _START_OF_SCAN:
            return
        at += 1 if marker == 0xFF else 2 + int.from_bytes(content[at + 2 : at + 4], "big")


def _jpeg_frames(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield bits a channel, height and width of a JPEG's frame headers."""
    for marker, at in _jpeg_markers(content):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and at + 5 <= len(content):
            yield content[at], *struct.unpack(">HH", content[at + 1 : at + 5])


def _unsupported_jpeg(content: bytes) -> str | None:
    for bits, _, _ in _jpeg_frames(content):
        if bits != 8:
            return f"JPEG with {bits} bits a channel is not read"
    lossless_or_hierarchical = {0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
    if lossless_or_hierarchical & {marker for marker, _ in _jpeg_markers(content)}:
        return "lossless or hierarchical JPEG is not read"
    return None


def _has_wrong_checksum(content: bytes) -> bool:
    return any(
        zlib.crc32(content[start + 4 : end]) != int.from_bytes(content[end : end + 4], "big")
        for start, end in _png_chunks(content)
    )


def _png_chunks(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield the offsets of a PNG's chunks and of their checksums, which may lie past the end of the file."""
    start = 8
    while start < len(content):
        end = start + 8 + int.from_bytes(content[start : start + 4], "big")
        yield start, end
        start = end + 4
