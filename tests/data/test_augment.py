import numpy as np
import pytest
from PIL import Image

from thaw.config.schema import AugmentConfig
from thaw.data.augment import ERASED, OPERATIONS, augment_image, key_fields, random_box, slices_of
from thaw.data.seeds import rng_for

from .pictures import noise

IMAGE = np.asarray(noise(16, 16))


def changed(config, image, image_number=0):
    return augment_image(image, config, rng_for(0, "augment", 0, 0, image_number))


def outcomes(config, image=IMAGE, n=200):
    return {changed(config, image, i).tobytes() for i in range(n)}


def test_nothing_asked_for_changes_nothing():
    assert np.array_equal(changed(AugmentConfig(name="strong"), IMAGE), IMAGE)


def test_the_same_random_numbers_make_the_same_image():
    config = AugmentConfig(flip=True, shift=0.2, ops=2)
    assert all(np.array_equal(changed(config, IMAGE, i), changed(config, IMAGE, i)) for i in range(20))


def test_the_image_handed_in_stays_as_it_is():
    image = IMAGE.copy()
    outcomes(AugmentConfig(flip=True, shift=0.2, ops=2), image)
    assert np.array_equal(image, IMAGE)


def test_a_flip_mirrors_about_half_of_the_images():
    mirrored = [np.array_equal(changed(AugmentConfig(flip=True), IMAGE, i), IMAGE[:, ::-1]) for i in range(400)]
    assert 160 < sum(mirrored) < 240
    assert outcomes(AugmentConfig(flip=True)) == {IMAGE.tobytes(), IMAGE[:, ::-1].tobytes()}


def test_shifts_reach_every_place_within_their_share_with_reflected_edges():
    padded = np.pad(IMAGE, ((2, 2), (2, 2), (0, 0)), mode="reflect")
    positions = {padded[y : y + 16, x : x + 16].tobytes() for y in range(5) for x in range(5)}
    assert outcomes(AugmentConfig(shift=0.125)) == positions


def test_rand_augment_keeps_shape_and_type_and_changes_most_images():
    results = [changed(AugmentConfig(ops=2, magnitude=9), IMAGE, i) for i in range(100)]
    assert all(result.shape == IMAGE.shape and result.dtype == np.uint8 for result in results)
    assert len({result.tobytes() for result in results}) > 50


def test_the_papers_fourteen_operations_are_there():
    assert len(OPERATIONS) == 14


@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - {"AutoContrast", "Equalize"}))
def test_strength_zero_changes_nothing(name):
    assert np.array_equal(np.asarray(OPERATIONS[name](Image.fromarray(IMAGE), 0.0)), IMAGE)


@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - {"Identity", "AutoContrast", "Equalize"}))
@pytest.mark.parametrize("sign", [-1, 1])
def test_more_strength_changes_more(name, sign):
    smooth = Image.fromarray(np.asarray(noise(4, 4))).resize((64, 64), Image.Resampling.BICUBIC)

    def change(strength):
        return np.abs(np.asarray(OPERATIONS[name](smooth, sign * strength)).astype(int) - np.asarray(smooth)).mean()

    assert 0 < change(0.3) < change(1.0)


@pytest.mark.parametrize("name", ["AutoContrast", "Equalize"])
def test_a_flat_image_gains_contrast(name):
    flat = Image.fromarray(IMAGE // 4 + 90)
    assert np.asarray(OPERATIONS[name](flat, 0.5)).std() > 2 * np.asarray(flat).std()


@pytest.mark.parametrize("options", [{"crop": 0.3}, {"color": 0.4}, {"erase": 0.5}])
def test_each_change_is_random_repeatable_and_leaves_the_image_that_was_handed_in(options):
    config, image = AugmentConfig(**options), IMAGE.copy()
    assert len(outcomes(config, image, 50)) > 20
    assert np.array_equal(image, IMAGE)
    assert all(np.array_equal(changed(config, image, i), changed(config, image, i)) for i in range(10))


def test_a_box_has_the_area_and_the_aspect_that_were_asked_for_and_lies_inside():
    rng = np.random.default_rng(0)
    boxes = np.array([random_box(rng, 0.1, 0.4, 2.0) for _ in range(500)])
    top, left, height, width = boxes.T
    assert (boxes >= 0).all()
    assert ((top + height).max(), (left + width).max()) <= (1.0, 1.0)
    assert 0.1 <= (height * width).min() < 0.12
    assert 0.38 < (height * width).max() <= 0.4
    assert 0.5 <= (height / width).min() < 0.55
    assert 1.8 < (height / width).max() <= 2.0


def test_a_crop_shows_a_part_of_the_image_as_large_as_the_whole():
    slope = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[:, None, None], 64, 1).repeat(3, 2)
    spans = [np.ptp(changed(AugmentConfig(crop=0.25), slope, i)[:, 0, 0].astype(int)) for i in range(100)]
    assert min(spans) < 150
    assert max(spans) <= 252
    halves = [changed(AugmentConfig(crop=1e-9 + 0.25), slope, i).shape for i in range(5)]
    assert set(halves) == {(64, 64, 3)}


def test_colours_change_within_their_share_and_a_grey_image_stays_grey():
    grey = np.full((8, 8, 3), 100, np.uint8)
    levels = [changed(AugmentConfig(color=0.3), grey, i) for i in range(200)]
    assert all((level == level[0, 0, 0]).all() for level in levels)
    assert {min(int(level[0, 0, 0]) for level in levels), max(int(level[0, 0, 0]) for level in levels)} <= {
        *range(69, 75), *range(126, 132),
    }  # fmt: skip


def test_an_erased_rectangle_is_noise_and_the_rest_stays():
    plain = np.full((32, 32, 3), 77, np.uint8)
    erased = [changed(AugmentConfig(erase=0.5), plain, i) != 77 for i in range(200)]
    hit = [mask.any(axis=2) for mask in erased if mask.any()]
    assert 70 < len(hit) < 130
    for mask in hit:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        inside = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert inside.mean() > 0.9, "a rectangle"
        assert mask.mean() < ERASED[1] + 0.1


def test_slices_are_whole_positions():
    assert slices_of((0.25, 0.5, 0.5, 0.25), 8, 4) == (slice(2, 6), slice(2, 3))


def test_every_key_that_changes_an_image_is_in_the_cache_key_and_stored_rows_keep_theirs():
    assert key_fields(AugmentConfig(flip=True)) == {"flip": True, "shift": 0.0, "ops": 0, "magnitude": 9}
    batch_keys = {"name", "place", "noise", "mixup", "cutmix"}  # they change batches, or nothing
    different = {"flip": True, "shift": 0.2, "ops": 2, "magnitude": 3, "crop": 0.5, "color": 0.3, "erase": 0.4}
    assert set(different) | batch_keys == set(AugmentConfig.__dataclass_fields__)
    assert key_fields(AugmentConfig(**different)) == different
