"""What can be wrong with a file, and how it is told from the bytes that no reader takes."""

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress

from PIL import Image

from thaw.data import tiff

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
"""Every kind of fault, for machines, and what it means."""

MAX_METADATA_BYTES = 64 * 2**20  # bytes of a PNG's text or profile, unpacked
_SMALL_NOTE, _PACKED = 2**20, 200  # unpacked bytes that are read of any, and otherwise at most so many times the packed
# ones: text packs by 3 to 30, zeros by 1000

# Readable formats by how they begin; what else their readers refuse is damaged, not foreign.
_READABLE = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  ", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
)
_FOREIGN = (  # offset, bytes there, kind, what it is
    (0, b"version https://git-lfs", "lfs_pointer", "a pointer of Git LFS; fetch the pictures: git lfs pull"),
    (0, b"\0\x05\x16\x07", "resource_fork", "macOS's notes on a file (AppleDouble)"),
    (0, b"\0\x05\x16\0", "resource_fork", "macOS's notes on a file (AppleSingle)"),
    (0, b"\0\0\0\x0cJXL ", "unsupported_format", "JPEG XL"),
    (0, b"\xff\x0a", "unsupported_format", "JPEG XL"),
    (0, b"II\xbc", "unsupported_format", "JPEG XR"),
    (0, b"8BPS", "unsupported_format", "PSD (Photoshop)"),
    (0, b"\0\0\1\0", "unsupported_format", "ICO"),
    (0, b"\0\0\2\0", "unsupported_format", "CUR"),
    (0, b"icns", "unsupported_format", "ICNS"),
    (0, b"gimp xcf", "unsupported_format", "XCF (GIMP)"),
    (0, b"v/1\x01", "unsupported_format", "OpenEXR"),
    (0, b"#?RADIANCE", "unsupported_format", "HDR (Radiance)"),
    (0, b"#?RGBE", "unsupported_format", "HDR (Radiance)"),
    (0, b"\x0a\5\1", "unsupported_format", "PCX"),
    (0, b"DDS ", "unsupported_format", "DDS"),
    (0, b"SIMPLE  =", "unsupported_format", "FITS"),
    (128, b"DICM", "unsupported_format", "DICOM"),
    (0, b"AT&TFORM", "unsupported_format", "DjVu"),
    (0, b"qoif", "unsupported_format", "QOI"),
    (0, b"BPG\xfb", "unsupported_format", "BPG"),
    (0, b"FLIF", "unsupported_format", "FLIF"),
    (0, b"P7\n", "unsupported_format", "PAM"),
    (0, b"\x59\xa6\x6a\x95", "unsupported_format", "Sun raster"),
    (0, b"\x01\xda\0", "unsupported_format", "SGI"),
    (0, b"\x01\xda\1", "unsupported_format", "SGI"),
    (0, b"IIRO", "unsupported_format", "camera raw (Olympus ORF)"),
    (0, b"IIRS", "unsupported_format", "camera raw (Olympus ORF)"),
    (0, b"IIU\0", "unsupported_format", "camera raw (Panasonic RW2)"),
    (0, b"FUJIFILMCCD-RAW", "unsupported_format", "camera raw (Fuji RAF)"),
    (0, b"FOVb", "unsupported_format", "camera raw (Sigma X3F)"),
    (0, b"%PDF", "document", "a PDF"),
    (0, b"%!PS", "document", "PostScript"),
    (0, b"{\\rtf", "document", "a text document (RTF)"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "document", "an office document or Thumbs.db"),
    (0, b"PK\3\4", "archive", "a ZIP archive or an office document"),
    (0, b"PK\5\6", "archive", "an empty ZIP archive"),
    (0, b"\x1f\x8b", "archive", "packed with gzip"),
    (0, b"BZh", "archive", "packed with bzip2"),
    (0, b"\xfd7zXZ\0", "archive", "packed with xz"),
    (0, b"7z\xbc\xaf\x27\x1c", "archive", "a 7z archive"),
    (0, b"Rar!", "archive", "a RAR archive"),
    (0, b"\x28\xb5\x2f\xfd", "archive", "packed with zstd"),
    (257, b"ustar", "archive", "a tar archive"),
    (8, b"AVI ", "video", "an AVI video"),
    (0, b"\x1a\x45\xdf\xa3", "video", "a Matroska or WebM video"),
    (0, b"\0\0\1\xba", "video", "an MPEG video"),
    (0, b"\0\0\1\xb3", "video", "an MPEG video"),
    (0, b"FLV\1", "video", "a Flash video"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video", "a Windows Media file"),
    (8, b"WAVE", "audio", "a WAVE sound"),
    (0, b"ID3", "audio", "an MP3"),
    (0, b"\xff\xfb", "audio", "an MP3"),
    (0, b"fLaC", "audio", "a FLAC sound"),
    (0, b"OggS", "audio", "an Ogg sound"),
    (0, b"\x7fELF", "program", "a program (ELF)"),
    (0, b"MZ", "program", "a program (Windows)"),
    (0, b"\xcf\xfa\xed\xfe", "program", "a program (macOS)"),
    (0, b"#!", "program", "a script"),
    (0, b"\x93NUMPY", "data_file", "a NumPy array"),
    (0, b"\x89HDF", "data_file", "an HDF5 file"),
    (0, b"SQLite format 3\0", "data_file", "an SQLite database"),
    (0, b"PAR1", "data_file", "a Parquet table"),
    (0, b"\x80\4\x95", "data_file", "a pickle"),
)
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"crx ": "camera raw (Canon CR3)"} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"
)
_NOT_READ = re.compile(r"(?i)unsupported|not supported|unknown \w+ (mode|method)|not available|cannot handle")
_CUT = re.compile(r"(?i)truncated|but only got|unexpected end|eof")


def diagnose(error: Exception, content: bytes) -> tuple[str, str]:
    """Return the kind and the reason of what a reader said of a file's bytes."""
    said = str(error) or type(error).__name__
    begins = _begins(content)
    if not content:
        return "empty", "the file is empty"
    if not content.strip(b"\0"):
        return "zero_filled", "nothing but zero bytes"
    if "MAX_TEXT" in said:  # Pillow's limits for what lies beside a PNG's pixels
        return "too_large", f"more than {MAX_METADATA_BYTES >> 20} MB of text in it: remove the text"
    if begins is None:
        return _foreign(content)
    if reason := _without_pixels(content, begins):
        return "no_pixels", reason
    if _CUT.search(said) or isinstance(error, EOFError) or _is_cut(content, begins):
        return "truncated", f"the {begins} file is truncated"
    opened = not isinstance(error, Image.UnidentifiedImageError)
    if begins == "TIFF" and (found := tiff.unsupported_variant(content, opened)):
        return found
    if reason := _variant(content, begins):
        return "unsupported_variant", reason
    if _wrong_checksum(content, begins):
        return "checksum", f"a checksum inside the {begins} file does not fit"
    if _NOT_READ.search(said):
        return "unsupported_variant", said
    if isinstance(error, Image.UnidentifiedImageError):
        said = f"its header is damaged, though it begins like {begins}"
    return "damaged", said


def ends_in_zeros(content: bytes) -> bool:
    """Whether a JPEG's end is zeros in place of a picture: readers take zeros for grey and say nothing.

    Padding behind the marker of the end does no harm, nor does a missing marker alone.
    """
    if not content.endswith(bytes(512)):
        return False
    return content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")


def oversized_png_metadata(content: bytes) -> tuple[str, str] | None:
    """Return kind and reason of a PNG whose text or profile takes too much memory when it is unpacked.

    None is unpacked further than to its limit. Long ones are sound: editing histories, workflows, profiles of printers.
    """
    for at, end in _chunks(content):
        kind = content[at + 4 : at + 8]
        if kind not in (b"zTXt", b"iTXt", b"iCCP") or 1032 * (end - at) < _SMALL_NOTE:  # deflate packs by 1032 at most
            continue
        packed = _packed_note(kind, content[at + 8 : end])
        bomb = max(_SMALL_NOTE, _PACKED * len(packed))
        with suppress(zlib.error):  # Pillow passes over a damaged one
            unpacked = len(zlib.decompressobj().decompress(packed, min(bomb, MAX_METADATA_BYTES) + 1))
            if unpacked > bomb:
                return "decompression_bomb", f"{len(packed):,} bytes of text or profile that unpack to over {bomb:,}"
            if unpacked > MAX_METADATA_BYTES:
                return "too_large", f"more than {MAX_METADATA_BYTES >> 20} MB of text or profile in it: remove that"
    return None


def _packed_note(kind: bytes, note: bytes) -> bytes:
    """The part of a chunk that is packed: behind a name, and of iTXt behind a language and a translated name too."""
    _, _, rest = note.partition(b"\0")
    if kind != b"iTXt":
        return rest[1:]
    return rest[2:].split(b"\0", 2)[-1] if rest[:1] == b"\1" else b""


def _begins(content: bytes) -> str | None:
    """The readable format that the bytes begin like."""
    for magic, name in _READABLE:
        if content.startswith(magic):
            return name
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP"[: max(len(content) - 8, 0)]:
        return "WEBP"
    if content[4:8] == b"ftyp" and _brand(content) == "AVIF":
        return "AVIF"
    if content[:2] == b"BM" and content[14:18] in [struct.pack("<I", n) for n in (12, 16, 40, 52, 56, 64, 108, 124)]:
        return "BMP"
    if re.match(rb"P[1-6f]\s", content, re.IGNORECASE):
        return "PPM"
    return None


def _brand(content: bytes) -> str | None:
    """What a file of boxes (HEIC, AVIF, MP4, ...) says that it is compatible with, AVIF first."""
    length = int.from_bytes(content[:4], "big")
    names = {_BRANDS.get(content[at : at + 4]) for at in range(8, min(length, 128), 4)} - {None}
    return "AVIF" if "AVIF" in names else _BRANDS.get(content[8:12]) or (min(names) if names else None)  # type: ignore[type-var]


def _foreign(content: bytes) -> tuple[str, str]:
    if content[-18:].startswith(b"TRUEVISION-XFILE"):  # its beginning says nothing
        return "unsupported_format", "TGA is not read"
    for offset, magic, kind, name in _FOREIGN:
        if content.startswith(magic, offset):
            return kind, f"{name} is not read" if kind == "unsupported_format" else f"not a picture but {name}"
    if content[4:8] == b"ftyp":
        if brand := _brand(content):
            return "unsupported_format", f"{brand} is not read: save it as JPEG or PNG"
        return (
            ("audio", "not a picture but a sound")
            if content[8:11] == b"M4A"
            else ("video", "not a picture but a video")
        )
    start = content[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start:
        return "unsupported_format", "SVG is not read"
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml", b"<body")):
        return "web_page", "not a picture but a web page or a server's answer"
    if _is_text(content[:4096]):
        return "text", "not a picture but text"
    return "not_an_image", "not a picture in a format that is read"


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode("utf-8", "strict" if len(start) < 4096 else "ignore")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\r\n\t\f" for character in text)


def _without_pixels(content: bytes, begins: str) -> str | None:
    sides: tuple[int, ...] = (1, 1)
    if begins == "PNG" and len(content) >= 24:
        sides = struct.unpack(">II", content[16:24])
    elif begins == "GIF" and len(content) >= 11:
        sides = struct.unpack("<HH", content[6:10])
        table = 3 * 2 ** ((content[10] & 7) + 1) if content[10] & 128 else 0
        if content[13 + table : 14 + table] == b";":
            return "it holds no picture"
    elif begins == "BMP" and len(content) >= 26:
        sides = struct.unpack("<ii", content[18:26])
    elif begins == "JPEG":
        sides = next(((w, h) for _, h, w in _frames(content)), sides)
    return "it has no pixels: width or height is 0" if 0 in sides else None


def _is_cut(content: bytes, begins: str) -> bool:
    """Whether a header speaks of more bytes than there are."""
    if begins == "JPEG":
        return all(marker != 0xDA for marker, _ in _markers(content)) and not content.endswith(b"\xff\xd9")
    if begins == "WEBP":
        return len(content) < 12 or int.from_bytes(content[4:8], "little") + 8 > len(content)
    if begins == "JPEG2000":  # a codestream has an end of its own
        return _boxes_end(content) > len(content) or not content.rstrip(b"\0").endswith(b"\xff\xd9")
    if begins == "AVIF":
        return _boxes_end(content) > len(content)
    if begins == "TIFF":
        order = "little" if content[:2] == b"II" else "big"
        return int.from_bytes(content[4:8], order) >= len(content)  # type: ignore[arg-type]
    if begins == "PNG":
        return len(content) < 33 or any(end + 4 > len(content) for _, end in _chunks(content))
    return len(content) < {"GIF": 13, "BMP": 54}.get(begins, 8)


def _boxes_end(content: bytes) -> int:
    at = 0
    while 0 <= at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        if length < 8:  # 0: to the end; 1: a 64-bit length, which no picture needs
            return len(content)
        at += length
    return at


def _markers(content: bytes) -> Iterator[tuple[int, int]]:
    """A JPEG's markers with their segments' offsets, up to the first scan, or to where the file ends."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        yield marker, at + 4
        if marker == 0xDA:
            return
        at += 1 if marker == 0xFF else 2 + int.from_bytes(content[at + 2 : at + 4], "big")


def _frames(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Precision in bits, height and width out of a JPEG's frame headers."""
    for marker, at in _markers(content):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and at + 5 <= len(content):
            yield content[at], *struct.unpack(">HH", content[at + 1 : at + 5])


def _variant(content: bytes, begins: str) -> str | None:
    if begins != "JPEG":
        return None
    for precision, _, _ in _frames(content):
        if precision != 8:
            return f"JPEG with {precision} bits a channel is not read"
    if any(marker in (0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7) for marker, _ in _markers(content)):
        return "lossless or hierarchical JPEG is not read"
    return None


def _wrong_checksum(content: bytes, begins: str) -> bool:
    return begins == "PNG" and any(
        zlib.crc32(content[at + 4 : end]) != int.from_bytes(content[end : end + 4], "big")
        for at, end in _chunks(content)
    )


def _chunks(content: bytes) -> Iterator[tuple[int, int]]:
    """A PNG's chunks: where each begins, and where its checksum lies, perhaps behind the end of the file."""
    at = 8
    while at < len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        yield at, end
        at = end + 4
