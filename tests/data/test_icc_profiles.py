import struct
import threading

import numpy as np
import pytest
from PIL import Image, ImageCms

from thaw.cache import DiskCache
from thaw.data import dataset_cache, icc_profiles
from thaw.data.decode import decode

from .pictures import WHITE, encoded, noise, photo, turned

# Profiles built here: tags by their signature, as the ICC's specification lays them out.

WHITE_POINT = (0.9642, 1.0, 0.8249)  # D50, to which all colours of a profile are adapted


def s15_fixed16(*numbers):
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def xyz(*numbers):
    return b"XYZ \0\0\0\0" + s15_fixed16(*numbers)


def gamma_curve(gamma):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


SRGB_CURVE = b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + s15_fixed16(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def profile(space, connection, kind=b"mntr", **tags):
    tags = {"wtpt": xyz(*WHITE_POINT), **tags}
    table, data, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        table += name.encode() + struct.pack(">II", start + len(data), len(body))
        data += body
    head = struct.pack(">I4sI4s4s4s", start + len(data), b"", 0x02400000, kind, space, connection)
    head += bytes(12) + b"acsp" + bytes(28) + s15_fixed16(*WHITE_POINT)
    return head + bytes(128 - len(head)) + table + data


def rgb_profile(primaries, curve):
    columns = dict(zip(("rXYZ", "gXYZ", "bXYZ"), (xyz(*column) for column in primaries), strict=True))
    return profile(b"RGB ", b"XYZ ", **columns, rTRC=curve, gTRC=curve, bTRC=curve)


# Primaries in XYZ, adapted to D50, as published with the spaces' own profiles.
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
DISPLAY_P3, ADOBE_RGB = rgb_profile(P3, SRGB_CURVE), rgb_profile(ADOBE, gamma_curve(563 / 256))
SRGB_PROFILE = rgb_profile(SRGB, SRGB_CURVE)
GREY_18 = profile(b"GRAY", b"XYZ ", kTRC=gamma_curve(1.8))

COLOUR = (200, 100, 60)


def encode_srgb(linear):
    """Return linear sRGB as it is stored, 0-255."""
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def convert_to_srgb(colour, primaries, linear):
    return encode_srgb(np.linalg.solve(np.array(SRGB).T, np.array(primaries).T @ linear(np.array(colour) / 255)))


def srgb_linear(values):
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def first_pixel(content):
    return np.asarray(decode(content).image)[0, 0].astype(int)


FLAT = Image.new("RGB", (16, 16), COLOUR)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize(
    ("space", "primaries", "linear"),
    [(DISPLAY_P3, P3, srgb_linear), (ADOBE_RGB, ADOBE, lambda values: values ** (563 / 256))],
)
def test_colours_of_an_embedded_profile_come_out_in_srgb(kind, space, primaries, linear):
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}, "AVIF": {"quality": 100}}
    expected = convert_to_srgb(COLOUR, primaries, linear)
    assert np.abs(expected - COLOUR).max() > 10  # a fault would show
    pixel = first_pixel(encoded(FLAT, kind, icc_profile=space, **options.get(kind, {})))
    assert np.abs(pixel - expected).max() <= (4 if kind in ("JPEG", "AVIF") else 1.5)


def test_photos_in_srgb_stay_what_they_are_to_the_last_bit():
    image = noise(40, 30)
    pillow_srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for space in (SRGB_PROFILE, pillow_srgb):
        assert np.array_equal(np.asarray(decode(encoded(image, "PNG", icc_profile=space)).image), np.asarray(image))


@pytest.mark.parametrize("damaged", [b"", b"no profile", DISPLAY_P3[:200], DISPLAY_P3[:128] + bytes(264), bytes(400)])
def test_a_damaged_profile_is_ignored(damaged):
    assert first_pixel(encoded(FLAT, "PNG", icc_profile=damaged)).tolist() == [*COLOUR]


def test_a_profile_of_another_mode_is_ignored():
    assert first_pixel(encoded(FLAT.convert("L"), "PNG", icc_profile=DISPLAY_P3)).tolist() == [125] * 3
    assert first_pixel(encoded(FLAT, "PNG", icc_profile=GREY_18)).tolist() == [*COLOUR]


def test_grey_is_shown_by_its_profile_in_8_and_16_bits_and_with_alpha():
    expected = encode_srgb((100 / 255) ** 1.8)
    grey, deep = Image.new("L", (4, 4), 100), Image.fromarray(np.full((4, 4), 100 * 257, np.uint16))
    clear = grey.copy()
    clear.putalpha(255)
    for image in (grey, deep, clear):
        assert np.abs(first_pixel(encoded(image, "PNG", icc_profile=GREY_18)) - expected).max() <= 1


def test_transparency_is_laid_on_white_after_the_profile():
    image = Image.new("RGBA", (4, 4), (*COLOUR, 128))
    expected = convert_to_srgb(COLOUR, P3, srgb_linear) * (128 / 255) + 255 * (127 / 255)
    assert np.abs(first_pixel(encoded(image, "PNG", icc_profile=DISPLAY_P3)) - expected).max() <= 1.5
    palette = FLAT.convert("P", palette=Image.Palette.ADAPTIVE)
    pixel = first_pixel(encoded(palette, "PNG", icc_profile=DISPLAY_P3))
    assert np.abs(pixel - convert_to_srgb(COLOUR, P3, srgb_linear)).max() <= 1.5
    keyed = encoded(FLAT, "PNG", transparency=COLOUR, icc_profile=DISPLAY_P3)
    assert first_pixel(keyed).tolist() == [*WHITE]


def test_a_reduced_and_turned_photo_is_brought_to_srgb_too():
    plain = turned(photo(603, 453), 6)
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = encoded(photo(603, 453), "JPEG", quality=95, exif=exif, icc_profile=DISPLAY_P3)
    reduced, whole = decode(wide, size=(20, 20)), decode(wide)
    assert (reduced.width, reduced.height) == (453, 603)
    assert np.abs(reduced.resized(20).astype(int) - whole.resized(20)).max() <= 4
    assert np.abs(whole.resized(20).astype(int) - decode(plain).resized(20)).max() > 10


def encode_lab(lightness, a, b):
    return bytes([round(lightness * 2.55), a + 128, b + 128])


def convert_lab_to_srgb(lightness, a, b):
    """Return CIE Lab as sRGB, computed without LittleCMS."""
    y = (lightness + 16) / 116
    rel = [v**3 if v > 6 / 29 else 3 * (6 / 29) ** 2 * (v - 4 / 29) for v in (y + a / 500, y, y - b / 200)]
    return encode_srgb(np.linalg.solve(np.array(SRGB).T, np.array(rel) * WHITE_POINT))


PAPER, CYAN, YELLOW, BLACK = (100, 0, 0), (62, -31, -40), (92, -6, 80), (0, 0, 0)


def cmyk_profile():
    """A press of which three inks matter here: a table of 2x2x2x2 colours in Lab; the others are black."""
    inks = {(0, 0, 0, 0): PAPER, (1, 0, 0, 0): CYAN, (0, 0, 1, 0): YELLOW}
    corners = np.ndindex(2, 2, 2, 2)
    table = b"".join(encode_lab(*inks.get(corner, BLACK)) for corner in corners)
    straight = bytes(range(256))
    matrix = s15_fixed16(1, 0, 0, 0, 1, 0, 0, 0, 1)
    body = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + straight * 4 + table + straight * 3
    return profile(b"CMYK", b"Lab ", b"prtr", A2B0=body)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_with_a_profile_shows_the_colours_of_its_press(kind):
    options = {"JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    for inks, expected in (((0, 0, 0, 0), PAPER), ((255, 0, 0, 0), CYAN), ((0, 0, 255, 0), YELLOW)):
        content = encoded(Image.new("CMYK", (16, 16), inks), kind, icc_profile=cmyk_profile(), **options)
        assert np.abs(first_pixel(content) - convert_lab_to_srgb(*expected)).max() < 5
    without = encoded(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), kind, **options)
    assert np.abs(first_pixel(without) - (0, 255, 255)).max() < 3


def test_a_profiles_transform_is_built_once_and_few_stay_in_memory(monkeypatch):
    built, build = [], icc_profiles._build_transform
    monkeypatch.setattr(icc_profiles, "_transforms", {})
    monkeypatch.setattr(icc_profiles, "_build_transform", lambda *given: built.append(given) or build(*given))
    for _ in range(3):
        first_pixel(encoded(FLAT, "PNG", icc_profile=SRGB_PROFILE))
    assert len(built) == 1
    for number in range(100):
        icc_profiles.srgb_transform("RGB", DISPLAY_P3[:100] + bytes([number]) + DISPLAY_P3[101:])
    assert len(icc_profiles._transforms) <= 64


def test_threads_share_a_transform(monkeypatch):
    monkeypatch.setattr(icc_profiles, "_transforms", {})
    content = encoded(noise(200, 200), "PNG", icc_profile=DISPLAY_P3)
    images = []
    threads = [threading.Thread(target=lambda: images.append(np.asarray(decode(content).image))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(images) == 8
    assert all(np.array_equal(image, images[0]) for image in images)


def test_pixels_of_another_littlecms_are_other_pixels(tmp_path, monkeypatch):
    store = DiskCache(tmp_path, 1e9)
    before = dataset_cache.plan_spaces(store, 8, 1)
    monkeypatch.setattr(dataset_cache.features, "version_module", lambda name: "99.9")
    assert dataset_cache.decoder_versions()["littlecms2"] == "99.9"
    after = dataset_cache.plan_spaces(store, 8, 1)
    assert after.pixels.id != before.pixels.id
    assert after.probe_results.id != before.probe_results.id
