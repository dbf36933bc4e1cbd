"""A folder of pictures with every fault that there is a way to make, among sound ones of every kind that is read.

`plant(folder)` makes it: class folders `planted` and `clean`. Nothing here uses thaw.
"""

import gzip
import io
import json
import os
import pickle
import socket
import sqlite3
import struct
import tarfile
import wave
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .handmade_files import png_chunk, png_file
from .pictures import encoded, noise, photo, turned


@dataclass(frozen=True)
class Planted:
    """What `plant` made: faults by name relative to the folder, with their kinds, and the names of sound pictures."""

    faults: dict[str, str]
    clean: tuple[str, ...]
    ignored: dict[str, int]


def plant(folder: Path) -> Planted:
    """Make the folder; names of faults say what was planted."""
    bad, good = folder / "planted", folder / "clean"
    for class_folder in (bad, good):
        class_folder.mkdir(parents=True)
    faults = {**_foreign(), **_cut(), **_damaged(), **_refused()}
    for name, (_, content) in faults.items():
        (bad / name).write_bytes(content)
    for name, content in _clean().items():
        (good / name).write_bytes(content)
    kinds = {f"planted/{name}": kind for name, (kind, _) in faults.items()} | _special(bad)
    return Planted(kinds, tuple(f"clean/{name}" for name in _clean()), _junk(folder))


Files = dict[str, tuple[str, bytes]]


def _foreign() -> Files:
    """What is no picture, or none that is read, under a picture's name."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"), io.BytesIO())
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("word/document.xml", "<w/>")
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(100))
    array = io.BytesIO()
    np.save(array, np.zeros(4))
    lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"
    heic = struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(40)
    error = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'
    return {
        "empty.jpg": ("empty", b""),
        "zeros.jpg": ("zero_filled", bytes(5000)),
        "random.jpg": ("not_an_image", b"\xf3" + np.random.default_rng(5).bytes(2000)),
        "page.jpg": ("web_page", b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>"),
        "denied.png": ("web_page", error),
        "json.jpg": ("text", json.dumps({"error": "rate limit"}).encode()),
        "note with ümlauts.jpg": ("text", "für später: Bild fehlt\n".encode()),
        "document.jpg": ("document", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj"),
        "old office.png": ("document", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)),
        "zip.jpg": ("archive", zipped.getvalue()),
        "tar.jpg": ("archive", packed.getvalue()),
        "gzip.jpg": ("archive", gzip.compress(encoded(noise(8, 8), "JPEG"))),
        "video.jpg": ("video", struct.pack(">I", 20) + b"ftypisom\0\0\2\0isom" + bytes(40)),
        "matroska.jpg": ("video", b"\x1a\x45\xdf\xa3" + bytes(40)),
        "sound.jpg": ("audio", sound.getvalue()),
        "mp3.jpg": ("audio", b"ID3\4" + bytes(60)),
        "program.jpg": ("program", b"\x7fELF\2\1\1" + bytes(60)),
        "script.jpg": ("program", b"#!/bin/sh\nexit 0\n"),
        "array.jpg": ("data_file", array.getvalue()),
        "pickle.png": ("data_file", pickle.dumps({"a": [1]}, protocol=4)),
        "database.jpg": ("data_file", _database()),
        "pointer.jpg": ("lfs_pointer", lfs),
        "resource fork.jpg": ("resource_fork", b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(60)),
        "phone.heic": ("unsupported_format", heic),
        "heic under another name.jpg": ("unsupported_format", heic),
        "photoshop.psd": ("unsupported_format", b"8BPS\0\1" + bytes(60)),
        "jpeg xl.jpg": ("unsupported_format", b"\xff\x0a" + bytes(60)),
        "vector.png": ("unsupported_format", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>'),
        "icon.ico": ("unsupported_format", encoded(noise(16, 16), "ICO")),
        "pcx.bmp": ("unsupported_format", encoded(noise(8, 8), "PCX")),
        "raw.dng": ("unsupported_format", encoded(noise(8, 8), "TIFF", tiffinfo={50706: b"\1\4\0\0"})),
        "raw.nef": ("unsupported_format", encoded(noise(8, 8), "TIFF", tiffinfo={254: 1})),
        "radiance.hdr": ("unsupported_format", b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n" + bytes(40)),
        "targa.tga": ("unsupported_format", encoded(noise(8, 8), "TGA")),
    }  # fmt: skip


def _cut() -> Files:
    """Every format, ended too early."""
    files: Files = {}
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "AVIF", "JPEG2000"):
        content = encoded(noise(64, 64), kind)
        files[f"cut in half {kind}.jpg"] = "truncated", content[: len(content) // 2]
    jpeg = encoded(noise(64, 64), "JPEG", progressive=True)
    files["cut progressive.jpg"] = "truncated", jpeg[: int(len(jpeg) * 0.9)]
    files["cut in the header.jpg"] = "truncated", jpeg[:20]
    files["cut in the header.gif"] = "truncated", encoded(noise(8, 8), "GIF")[:10]
    files["without an end.png"] = "truncated", encoded(noise(8, 8), "PNG")[:-12]
    whole = encoded(photo(200, 200), "JPEG")
    files["download that stopped.jpg"] = "zero_filled", whole[: len(whole) // 2] + bytes(len(whole) // 2 + 600)
    return files


def _damaged() -> Files:
    png, gif = encoded(noise(64, 64), "PNG"), encoded(noise(64, 64), "GIF")
    jpeg = encoded(noise(64, 64), "JPEG")
    frame, scan = jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xda")
    return {
        "flipped bit.png": ("checksum", _changed(png, len(png) // 2, png[len(png) // 2] ^ 1)),
        "flipped bit in the header.png": ("checksum", _changed(png, 29, png[29] ^ 1)),
        "flipped bit in a note.png": (
            "checksum", png[:33] + _changed(png_chunk(b"tEXt", b"a\0b"), 8, 0) + png[33:]),
        "broken stream.png": ("damaged", png_file(8, 8, 8, 2, compressed=b"x\x9c" + b"\xff" * 60)),
        "wrong depth.png": ("damaged", png_file(2, 2, 7, 2)),
        "wrong codes.gif": ("damaged", gif[: len(gif) // 2] + b"\xff" * 100 + gif[len(gif) // 2 + 100 :]),
        "wrong header.jpg": ("damaged", _changed(jpeg, frame + 9, 7)),
        "wrong chunk.webp": ("damaged", _changed(encoded(noise(8, 8), "WEBP"), 12, 0)),
        "no scan.jpg": ("damaged", jpeg[:scan] + b"\xff\xd9"),
        "zero width.png": ("no_pixels", png_file(0, 5, 8, 2)),
        "zero height.jpg": ("no_pixels", jpeg[: frame + 5] + b"\0\0" + jpeg[frame + 7 :]),
        "zero width.bmp": ("no_pixels", encoded(noise(4, 4), "BMP")[:18] + bytes(4) + encoded(noise(4, 4), "BMP")[22:]),
        "no frame.gif": ("no_pixels", b"GIF89a" + struct.pack("<HHBBB", 5, 5, 0, 0, 0) + b";"),
    }  # fmt: skip


def _refused() -> Files:
    """Sound in their way, and no use, or a danger."""
    jpeg = encoded(noise(64, 64), "JPEG")
    frame = jpeg.find(b"\xff\xc0")
    bomb = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(8_000_000)))
    return {
        "lossless.jpg": ("unsupported_variant", _changed(jpeg, frame + 1, 0xC3)),
        "twelve bits.jpg": ("unsupported_variant", _changed(jpeg, frame + 4, 12)),
        "depth of 13.bmp": ("unsupported_variant", _changed(encoded(noise(8, 8), "BMP"), 28, 13)),
        "floats.tif": ("unsupported_pixels", encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF")),
        "long integers.tif": ("unsupported_pixels", encoded(Image.fromarray(np.full((4, 4), 70000, np.int32)), "TIFF")),
        "too large.ppm": ("too_large", b"P6 10001 10000 255\n" + bytes(200_000)),
        "bomb by its header.png": ("decompression_bomb", png_file(100_000, 100_000, 8, 2)),
        "bomb in a note.png": ("decompression_bomb", png_file(1, 1, 8, 2, before=bomb)),
    }


def _special(folder: Path) -> dict[str, str]:
    """What lies in a folder without being a file of bytes."""
    (folder / "to nowhere.jpg").symlink_to("gone.jpg")
    (folder / "to itself.jpg").symlink_to("to itself.jpg")
    os.mkfifo(folder / "pipe.jpg")
    here = Path.cwd()
    os.chdir(folder)  # a socket's whole path may not be longer than 107 bytes
    try:
        socket.socket(socket.AF_UNIX).bind("socket.jpg")
    finally:
        os.chdir(here)
    kinds = {"to nowhere": "broken_link", "to itself": "link_loop", "pipe": "not_a_file", "socket": "not_a_file"}
    newline = "two\nlines\tand a tab.jpg"
    (folder / newline).write_bytes(b"")
    latin = os.fsdecode(b"caf\xe9.jpg")
    (folder / latin).write_bytes(b"")
    return {f"planted/{name}.jpg": kind for name, kind in kinds.items()} | {
        f"planted/{name}": "empty" for name in (newline, latin)
    }


def _junk(folder: Path) -> dict[str, int]:
    """What must be passed over."""
    picture = encoded(noise(8, 8), "JPEG")
    for name in (".DS_Store", "clean/.DS_Store", "clean/Thumbs.db", "clean/._photo.jpg", "clean/.hidden.jpg"):
        (folder / name).write_bytes(b"\0\5\x16\7")
    (folder / "clean" / "list.txt").write_text("a")
    for name in ("clean/.cache", "__MACOSX"):
        (folder / name).mkdir()
        (folder / name / "1.jpg").write_bytes(picture[:50])
    (folder / "clean" / "loop").symlink_to(folder / "clean")
    return {
        ".DS_Store": 2, "Thumbs.db": 1, "._ files": 1, "hidden files": 1, ".txt": 1, "hidden folders": 1,
        "__MACOSX folders": 1, "links to folders that are read anyway": 1,
    }  # fmt: skip


def _clean() -> dict[str, bytes]:
    image = noise(24, 16)
    grey, rgba = image.convert("L"), image.convert("RGBA")
    deep = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000)
    jpeg = encoded(image, "JPEG")
    samples = np.arange(12, dtype=">u2").tobytes()
    row = b"".join(b"\0" + samples for _ in range(4))
    text = zlib.compress(np.random.default_rng(6).integers(32, 127, 2_000_000, np.uint8).tobytes())
    files = {f"{kind}.{kind.lower()}": encoded(image, kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")}
    files |= {"portable.ppm": encoded(image, "PPM"), "portable.pgm": encoded(grey, "PPM")}
    files |= {"new.avif": encoded(image, "AVIF"), "new.jp2": encoded(image, "JPEG2000")}
    files |= {
        "progressive.jpg": encoded(image, "JPEG", progressive=True),
        "grey.jpg": encoded(grey, "JPEG"),
        "flat and grey.jpg": encoded(Image.new("L", (900, 900)), "JPEG", optimize=True),  # almost nothing but zero bits
        "cmyk.jpg": encoded(image.convert("CMYK"), "JPEG"),
        "turned.jpg": turned(photo(30, 20), 6),
        "padded with zeros.jpg": jpeg + bytes(4096),
        "with something behind.jpg": jpeg + b"appended by a phone" * 20,
        "without the end's marker.jpg": jpeg.removesuffix(b"\xff\xd9") + b"\xff\xd9",
        "two in one.jpg": _several("MPO"),
        "arithmetic.jpg": jpeg.replace(b"\xff\xc0", b"\xff\xc1", 1),
        "palette.png": encoded(image.convert("P"), "PNG"),
        "palette with alpha.png": encoded(image.convert("P"), "PNG", transparency=bytes(range(256))),
        "one bit.png": encoded(image.convert("1"), "PNG"),
        "grey.png": encoded(grey, "PNG"),
        "grey with alpha.png": encoded(image.convert("LA"), "PNG"),
        "alpha.png": encoded(rgba, "PNG"),
        "sixteen bits grey.png": encoded(deep, "PNG"),
        "sixteen bits.png": png_file(4, 4, 16, 2, compressed=zlib.compress(row)),
        "animated.png": _several("PNG"),
        "damaged exif.png": encoded(image, "PNG", exif=b"Exif\0\0no tiff"),
        "animated.gif": _several("GIF"),
        "animated.webp": _several("WEBP"),
        "lossless.webp": encoded(rgba, "WEBP", lossless=True),
        "sixteen bits.tif": encoded(deep, "TIFF"),
        "packed.tif": encoded(image, "TIFF", compression="tiff_lzw"),
        "pages.tif": _several("TIFF"),
        "cmyk.tif": encoded(image.convert("CMYK"), "TIFF"),
        "png under another name.jpg": encoded(image, "PNG"),
        "jpeg under another name.png": jpeg,
        "UPPER CASE.JPG": jpeg,
        "ünïcödé 日本語 🐱.jpg": jpeg,
        "a new\nline, \"quotes\".jpg": jpeg,
        "one pixel.png": encoded(noise(1, 1), "PNG"),
        "long notes.png": png_file(1, 1, 8, 2, before=png_chunk(b"zTXt", b"a\0\0" + text)),
        "large profile.png": png_file(1, 1, 8, 2, before=png_chunk(b"iCCP", b"a\0\0" + text)),
        "narrow.png": encoded(noise(3000, 1), "PNG"),
        os.fsdecode(b"not utf-8 \xe9.jpg"): jpeg,
    }  # fmt: skip
    return files


def _several(kind: str) -> bytes:
    return encoded(noise(8, 8), kind, save_all=True, append_images=[noise(8, 8, 1), noise(8, 8, 2)])


def _changed(content: bytes, at: int, value: int) -> bytes:
    return content[:at] + bytes([value]) + content[at + 1 :]


def _database() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("create table a (b)")
    connection.commit()
    return connection.serialize()
