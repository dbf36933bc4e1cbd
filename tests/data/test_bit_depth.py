import zlib

import numpy as np
import pytest
from PIL import Image

from thaw.cache import DiskCache
from thaw.data import bit_depth, dataset_cache, pixels, quarantine, scan
from thaw.data.decode import BadImageError, DecodeOptions, decode

from .catalogs import catalog_of_files
from .handmade_files import grey_tiff, png_line, tiff_file
from .pictures import encoded, noise

TWELVE = DecodeOptions(12)
LEVELS = np.array([[0, 400, 2048, 4095]], np.uint16)
EXPECTED = [0, 25, 128, 255]


def levels(content, options=TWELVE):
    return np.asarray(decode(content, options=options).image)[0, :, 0].tolist()


def test_12_bits_in_a_16_bit_file_use_the_whole_range_when_the_config_says_so():
    for kind, options in (("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("JPEG2000", {})):
        content = encoded(Image.fromarray(np.repeat(LEVELS, 4, axis=0)), kind, **options)
        assert levels(content) == EXPECTED
        assert levels(content, DecodeOptions()) == [0, 2, 8, 16]
        assert decode(content).max_value == 4095
    assert levels(b"P5 4 1 65535\n" + LEVELS.astype(">u2").tobytes()) == EXPECTED
    assert levels(grey_tiff("MM", 16, b"\x00\x00\x0f\xff")) == [0, 255]


def test_data_of_any_depth_is_spread_from_black_to_white():
    for bits in range(8, 17):
        content = encoded(Image.fromarray(np.array([[0, 2**bits - 1]], np.uint16)), "PNG")
        assert levels(content, DecodeOptions(bits)) == [0, 255]


def test_a_sensors_hot_pixels_hide_no_depth_and_refuse_no_picture():
    """Seen in microscopes and cameras: a few pixels at the end of the range, whatever the picture shows."""
    picture = np.random.default_rng(0).integers(0, 4096, (64, 64)).astype(np.uint16)
    picture[3, 5] = picture[40, 2] = 65535
    content = encoded(Image.fromarray(picture), "PNG")
    assert decode(content).max_value <= 4095
    grey = np.asarray(decode(content, options=TWELVE).image)[..., 0]
    assert grey[3, 5] == 255
    assert 120 < grey.mean() < 135
    picture[:2] = 5000  # too many for defects: the setting is wrong
    with pytest.raises(BadImageError, match="allows 4,095"):
        decode(encoded(Image.fromarray(picture), "PNG"), options=TWELVE)


def test_0_for_white_is_white_at_any_depth():
    assert levels(grey_tiff("II", 16, b"\0\0\xff\x0f", white_is_zero=True)) == [255, 0]


def test_a_file_that_states_its_range_is_read_by_it_whatever_the_config_says():
    stated = b"P5 4 1 4095\n" + LEVELS.astype(">u2").tobytes()
    assert levels(stated) == levels(stated, DecodeOptions()) == EXPECTED
    assert decode(stated).max_value is None
    whole = encoded(Image.fromarray(np.full((8, 8), 60_000, np.uint16)), "JPEG2000")
    sizes = whole.find(b"\xff\x4f\xff\x51") + 42
    twelve = decode(whole[:sizes] + b"\x0b" + whole[sizes + 1 :], options=TWELVE)  # its header says 12 bits
    assert twelve.max_value is None
    for content in (encoded(noise(4, 4), "PNG"), encoded(noise(4, 4), "TIFF"), encoded(noise(9, 9), "AVIF")):
        assert np.array_equal(decode(content, options=TWELVE).image, decode(content).image)
        assert decode(content).max_value is None


def test_a_value_above_the_range_is_refused_and_not_cut_off():
    content = encoded(Image.fromarray(np.array([[0, 4096]], np.uint16)), "PNG")
    with pytest.raises(BadImageError, match=r"4,096, and dataset\.bits=12 allows 4,095") as caught:
        decode(content, options=TWELVE)
    assert caught.value.kind == "out_of_range"
    wide = png_line(1, 16, 2, np.array([[0, 0, 4096]], ">u2"))
    with pytest.raises(BadImageError, match="4,096"):
        decode(wide, options=TWELVE)


def test_what_stands_for_nothing_is_white_and_may_lie_above_the_range():
    image = Image.fromarray(np.array([[4095, 65535, 0]], np.uint16))
    content = encoded(image, "PNG", transparency=65535)
    assert levels(content) == [255, 255, 0]
    assert decode(content).max_value == 4095


def colour_tiff(order, samples, compression):
    """16-bit colours, one line of two pixels."""
    data = samples.astype("<u2" if order == "II" else ">u2").tobytes()
    strips = [zlib.compress(data) if compression == 8 else data]
    return tiff_file(order, 16, 2, strips, channels=3, compression=compression)


def test_16_bit_colours_are_spread_too_and_alpha_stays():
    samples = np.array([[0, 400, 2048], [4095, 16, 1]], ">u2")
    expected = [[0, 25, 128], [255, 1, 0]]
    contents = {
        "PNG": png_line(2, 16, 2, samples),
        "TIFF, little end first": colour_tiff("II", samples, 1),
        "TIFF, big end first": colour_tiff("MM", samples, 1),
        "TIFF, packed": colour_tiff("II", samples, 8),
        "TIFF, packed, big end first": colour_tiff("MM", samples, 8),
        "PNG with alpha": png_line(2, 16, 6, np.hstack([samples, np.full((2, 1), 65535)]).astype(">u2")),
    }
    pixels_by_name = {
        name: np.asarray(decode(content, options=TWELVE).image)[0].tolist() for name, content in contents.items()
    }
    assert pixels_by_name == dict.fromkeys(contents, expected)
    assert all(decode(content).max_value == 4095 for content in contents.values())
    assert np.asarray(decode(contents["PNG"]).image)[0].tolist() == [[0, 1, 8], [15, 0, 0]]  # the upper 8 bits


def test_colours_that_cannot_be_spread_are_refused_by_name():
    for content in (
        png_line(1, 16, 4, np.array([[4095, 65535]], ">u2")),
        b"P6 1 1 65535\n" + np.array([1, 2, 4095], ">u2").tobytes(),
    ):
        decode(content)
        with pytest.raises(BadImageError, match=r"cannot be scaled by dataset\.bits"):
            decode(content, options=TWELVE)


# What a scan warns of.


def files(folder, *highest):
    paths = []
    for i, value in enumerate(highest):
        paths.append(folder / f"{i}.png")
        image = noise(5, 4, i) if value is None else Image.fromarray(np.array([[value, *[0] * i]], np.uint16))
        image.save(paths[-1])
    return catalog_of_files(paths)


def remarks(catalog, store=None, bits=None):
    return quarantine.data_remarks(
        scan.scan_catalog(catalog, dataset_cache.plan_spaces(store, 8, len(catalog), options=DecodeOptions(bits))), bits
    )


def test_a_scan_names_files_of_few_used_bits_and_the_setting_from_the_cache_too(tmp_path):
    catalog, store = files(tmp_path, 4000, 3000, None, 0), DiskCache(tmp_path / "store", 1e9)
    for _ in range(2):
        (warning,) = remarks(catalog, store)
        assert "2 of 3 pictures with 16 bits a channel hold no value over 4,000" in warning
        assert "nearly black: dataset.bits=12 spreads 0 to 4,095" in warning
    for bits in (12, 16):
        assert remarks(catalog, store, bits) == []


@pytest.mark.parametrize(("top", "bits"), [(255, 8), (256, 10), (1023, 10), (4095, 12), (9000, 14), (16383, 14)])
def test_the_setting_that_is_named_holds_all_values(tmp_path, top, bits):
    catalog = files(tmp_path, top)
    assert f"dataset.bits={bits} " in remarks(catalog)[0]
    assert not scan.scan_catalog(catalog, dataset_cache.plan_spaces(None, 8, 1, options=DecodeOptions(bits))).bad_files


def test_nothing_is_said_of_pictures_that_use_their_bits(tmp_path):
    assert remarks(files(tmp_path, 65535, 16384, 0, None)) == []
    assert bit_depth.few_bits_warning([60_000] * 30 + [300]) == ""  # a dark one


def test_a_setting_that_others_would_break_at_is_not_named(tmp_path):
    (warning,) = remarks(files(tmp_path, 4000, 65535))
    assert "1 of 2" in warning
    assert "darker than the others" in warning
    assert "bits=12" not in warning


# What the cache stores.


def test_rows_of_other_bits_are_never_mixed_up(tmp_path):
    catalog, store = files(tmp_path, 4095, 4000), DiskCache(tmp_path / "store", 1e9)
    for options in (DecodeOptions(), TWELVE, DecodeOptions(14), DecodeOptions(), TWELVE):
        spaces = dataset_cache.plan_spaces(store, 8, 2, options=options)
        loaded = pixels.of_scan(scan.scan_catalog(catalog, spaces), np.arange(2), spaces)
        assert loaded.decode_options == options
        expected = np.stack([decode(path, size=(8, 8), options=options).resized(8) for path in catalog.paths])
        assert np.array_equal(loaded.take(np.arange(2)), expected)
    bad = scan.scan_catalog(catalog, dataset_cache.plan_spaces(store, 8, 2, options=DecodeOptions(8))).bad_files
    assert [file.kind for file in bad] == ["out_of_range"] * 2
    assert not scan.scan_catalog(catalog, dataset_cache.plan_spaces(store, 8, 2)).bad_files


def test_keys_stay_the_same_unless_pixels_differ(tmp_path):
    store = DiskCache(tmp_path, 1e9)

    def ids(options):
        spaces = dataset_cache.plan_spaces(store, 8, 1, options=options)
        return spaces.stat_hashes.id, spaces.probe_results.id, spaces.pixels.id

    default = dataset_cache.plan_spaces(store, 8, 1)
    assert (
        ids(DecodeOptions())
        == ids(DecodeOptions(16))
        == (default.stat_hashes.id, default.probe_results.id, default.pixels.id)
    )
    assert ids(TWELVE)[0] == default.stat_hashes.id
    assert len({ids(DecodeOptions(bits))[1:] for bits in (None, 10, 12)}) == 3


def test_pixels_in_memory_are_decoded_with_the_same_options(tmp_path):
    catalog = files(tmp_path, 4095)
    spaces = dataset_cache.plan_spaces(None, 8, 1, options=TWELVE)
    loaded = pixels.of_scan(scan.scan_catalog(catalog, spaces, with_pixels=False), np.arange(1), spaces)
    assert loaded.get(0).min() == 255


def test_black_pictures_cause_no_warning():
    assert bit_depth.few_bits_warning([0, None, 0]) == ""
