import numpy as np
import pytest
from PIL import Image

from thaw.config.schema import AugmentConfig
from thaw.data.augment import OPERATIONS, augment_image
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
