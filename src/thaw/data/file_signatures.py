"""Tell what a file is by how it begins: its magic bytes."""

import re
import struct

# Formats that are read, by their magic bytes. What a reader refuses of them is damaged, not foreign.
_READABLE: dict[str, bytes | tuple[bytes, ...]] = {
    "JPEG": b"\xff\xd8\xff",
    "PNG": b"\x89PNG",
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "JPEG2000": (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
}
_FOREIGN = (  # offset, magic bytes, kind (a key of KINDS), description
    (0, b"version https://git-lfs", "lfs_pointer", "a pointer of Git LFS; fetch the pictures: git lfs pull"),
    (0, b"\0\x05\x16\x07", "resource_fork", "macOS's notes on a file (AppleDouble)"),
    (0, b"\0\x05\x16\0", "resource_fork", "macOS's notes on a file (AppleSingle)"),
    (0, (b"\0\0\0\x0cJXL ", b"\xff\x0a"), "unsupported_format", "JPEG XL"),
    (0, b"II\xbc", "unsupported_format", "JPEG XR"),
    (0, b"8BPS", "unsupported_format", "PSD (Photoshop)"),
    (0, b"\0\0\1\0", "unsupported_format", "ICO"),
    (0, b"\0\0\2\0", "unsupported_format", "CUR"),
    (0, b"icns", "unsupported_format", "ICNS"),
    (0, b"gimp xcf", "unsupported_format", "XCF (GIMP)"),
    (0, b"v/1\x01", "unsupported_format", "OpenEXR"),
    (0, (b"#?RADIANCE", b"#?RGBE"), "unsupported_format", "HDR (Radiance)"),
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
    (0, (b"\x01\xda\0", b"\x01\xda\1"), "unsupported_format", "SGI"),
    (0, (b"IIRO", b"IIRS"), "unsupported_format", "camera raw (Olympus ORF)"),
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
    (0, (b"\0\0\1\xba", b"\0\0\1\xb3"), "video", "an MPEG video"),
    (0, b"FLV\1", "video", "a Flash video"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video", "a Windows Media file"),
    (8, b"WAVE", "audio", "a WAVE sound"),
    (0, (b"ID3", b"\xff\xfb"), "audio", "an MP3"),
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


def readable_format(content: bytes) -> str | None:
    """Return the supported format whose magic bytes a file begins with: JPEG, PNG, ...; None if there is none."""
    for name, magic in _READABLE.items():
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


def identify_foreign(content: bytes) -> tuple[str, str]:
    """Return the kind (a key of `KINDS`) and the reason why a file that is of no supported format is not read."""
    if content[-18:].startswith(b"TRUEVISION-XFILE"):  # the signature is at the end
        return "unsupported_format", "TGA is not read"
    for offset, magic, kind, name in _FOREIGN:
        if content.startswith(magic, offset):
            return kind, f"{name} is not read" if kind == "unsupported_format" else f"not a picture but {name}"
    if content[4:8] == b"ftyp":
        if brand := _brand(content):
            return "unsupported_format", f"{brand} is not read: save it as JPEG or PNG"
        kind, name = ("audio", "a sound") if content[8:11] == b"M4A" else ("video", "a video")
        return kind, f"not a picture but {name}"
    start = content[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start:
        return "unsupported_format", "SVG is not read"
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml", b"<body")):
        return "web_page", "not a picture but a web page or a server's answer"
    if _is_text(content[:4096]):
        return "text", "not a picture but text"
    return "not_an_image", "not a picture in a format that is read"


def _brand(content: bytes) -> str | None:
    """Return a format that a file of boxes (HEIC, AVIF, MP4, ...) states compatibility with, AVIF first."""
    length = int.from_bytes(content[:4], "big")
    names = {_BRANDS.get(content[at : at + 4]) for at in range(8, min(length, 128), 4)} - {None}
    return "AVIF" if "AVIF" in names else _BRANDS.get(content[8:12]) or (min(names) if names else None)  # type: ignore[type-var]


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode("utf-8", "strict" if len(start) < 4096 else "ignore")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\r\n\t\f" for character in text)
