"""Pictures of what a network sees: the right images with the right heat, values, views and layers."""

import io
import os
from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image

from tests.frozen import small_network
from tests.models.calibrated_networks import build
from thaw.config.schema import AugmentConfig, HeadConfig
from thaw.data import pixels as data_pixels
from thaw.data.dataset import Dataset
from thaw.data.image_batches import augmented_view
from thaw.data.pixels import Pixels
from thaw.data.splits import Splits
from thaw.data.thumbnails import encode_jpeg, thumbnail
from thaw.models.grad_cam import GradCam
from thaw.models.heat_overlay import overlay
from thaw.models.network import attach_head
from thaw.results.network_pictures import PredictedImages, explanations, model_summary, network_inputs

AUGMENT = AugmentConfig(name="light", flip=True, shift=0.3)


@pytest.fixture(scope="module")
def network():
    """One half of the channels speaks for each class."""
    joined = attach_head(build("cnn", image_size=small_network.SIZE), HeadConfig(name="linear"), ("a", "b"))
    joined.model.get_layer("predictions").set_weights([np.eye(2).repeat(32, axis=0), np.zeros(2)])
    return joined


@pytest.fixture
def pixels(tmp_path, monkeypatch) -> Pixels:
    """Nine pictures of 32 x 32; taking decodes all that there are, and these pictures are a few of many."""

    def all_are_decoded(*_: object) -> None:
        raise AssertionError("all images would be decoded")

    read = small_network.read_photos(tmp_path / "photos", list(range(9)))
    monkeypatch.setattr(Pixels, "take", all_are_decoded)
    return read


def predicted(pixels: Pixels) -> PredictedImages:
    """Every second of the nine, the last one first; of the five, the second and the last are mistakes."""
    probabilities = np.array([[0.9, 0.1], [0.75, 0.25], [0.6, 0.4], [0.8, 0.2], [0.3, 0.7]], np.float32)
    return PredictedImages(pixels, np.array([8, 6, 4, 2, 0]), np.array([0, 1, 0, 0, 0]), probabilities, ("cat", "dog"))


def test_hits_and_mistakes_are_explained_by_the_class_that_was_predicted(network, pixels) -> None:
    hits, mistakes = explanations(network.model, predicted(pixels), [3, 0], [4, 1])
    assert (hits.key, hits.total, mistakes.key, mistakes.total) == ("explained_hits", 3, "explained_mistakes", 2)
    names = pixels.catalog.names
    found = [(image.file, image.true, image.predicted, image.note) for image in (*hits.images, *mistakes.images)]
    assert found == [
        (names[2], "cat", "cat", ""),
        (names[8], "cat", "cat", ""),
        (names[0], "cat", "dog", "cat: 30.0 %"),
        (names[6], "dog", "cat", "dog: 25.0 %"),
    ]
    assert [image.probability for image in mistakes.images] == pytest.approx([0.7, 0.75])
    for image, index, label in zip((*hits.images, *mistakes.images), (2, 8, 0, 6), (0, 0, 1, 0), strict=True):
        picture = thumbnail(pixels, index, 192)
        heat = GradCam(network.model)(small_network.picture(index)[None], np.array([label]))
        assert heat.max() == 1
        assert image.jpeg == encode_jpeg(picture)
        assert image.overlay == encode_jpeg(overlay(np.asarray(picture), heat[0]))


def test_images_keep_their_heat_across_batches(network, pixels) -> None:
    (hits,) = explanations(network.model, predicted(pixels), [0, 2, 3, 0, 2, 3], [])
    assert [image.file for image in hits.images[3:]] == [image.file for image in hits.images[:3]]
    assert [image.overlay for image in hits.images[3:]] == [image.overlay for image in hits.images[:3]]


def test_an_image_without_heat_says_so(network, pixels) -> None:
    head = network.model.get_layer("predictions")
    before = head.get_weights()
    head.set_weights([np.zeros_like(weight) for weight in before])
    try:
        hits, mistakes = explanations(network.model, predicted(pixels), [0], [4])
    finally:
        head.set_weights(before)
    assert hits.images[0].note == "nothing speaks for cat"
    assert mistakes.images[0].note == "cat: 30.0 % · nothing speaks for dog"


def dataset(pixels: Pixels, augment: AugmentConfig) -> Dataset:
    return Dataset(pixels, Splits(np.arange(6), np.array([6, 7]), np.array([8])), augment, seed=3)


def test_inputs_are_the_resized_pictures_with_the_values_behind_the_preprocessing(network, pixels) -> None:
    (inputs,) = network_inputs(dataset(pixels, AugmentConfig()), network, np.array([5, 1]), views=2)
    assert [(image.file, image.true) for image in inputs.images] == [
        (pixels.catalog.names[5], "class 1"), (pixels.catalog.names[1], "class 1"),
    ]  # fmt: skip
    assert [image.jpeg for image in inputs.images] == [
        encode_jpeg(Image.fromarray(small_network.picture(number))) for number in (5, 1)
    ]
    assert (inputs.key, inputs.total) == ("inputs", 6)
    # Random pixels reach both 0 and 255.
    assert inputs.meaning == (
        "Pictures are stretched to 32 x 32 pixels; behind the network's preprocessing, x / 255, the values of these "
        "lie between 0 and 1."
    )


def test_augmented_views_are_those_of_training_picture_by_picture(network, pixels, monkeypatch) -> None:
    _, augmented = network_inputs(dataset(pixels, AUGMENT), network, np.array([5, 1]), views=2)
    names = pixels.catalog.names
    assert [(image.file, image.note) for image in augmented.images] == [
        (names[5], "view 1"), (names[5], "view 2"), (names[1], "view 1"), (names[1], "view 2"),
    ]  # fmt: skip
    monkeypatch.setattr(Pixels, "take", Pixels.sample)
    views = [augmented_view(pixels, np.array([5, 1]), AUGMENT, 3, number) for number in (0, 1)]
    wanted = [encode_jpeg(Image.fromarray(views[number][row])) for row in (0, 1) for number in (0, 1)]
    assert [image.jpeg for image in augmented.images] == wanted
    assert len(set(wanted)) == 4


def test_large_pictures_are_shown_at_192_pixels(network, tmp_path) -> None:
    read = small_network.read_photos(tmp_path / "photos", [0])
    large = np.random.default_rng(0).integers(0, 256, (1, 300, 400, 3)).astype(np.uint8)
    catalog = replace(read.catalog, paths=None, arrays=large)
    read = data_pixels.of_catalog(catalog, np.array([0]), small_network.SIZE)
    (hits,) = explanations(
        network.model,
        PredictedImages(read, np.array([0]), np.array([0]), np.array([[0.9, 0.1]]), ("a", "b")),
        [0],
        [],
    )
    for jpeg in (hits.images[0].jpeg, hits.images[0].overlay):
        assert Image.open(io.BytesIO(jpeg)).size == (192, 144)


def test_a_summary_names_all_layers_whatever_the_width_of_the_terminal(network, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = model_summary(network.model)
    assert os.environ["COLUMNS"] == "40"
    monkeypatch.delenv("COLUMNS")
    assert model_summary(network.model) == text
    assert "COLUMNS" not in os.environ
    lines = text.splitlines()
    assert max(map(len, lines)) == 100
    assert [layer.name for layer in network.model.layers if layer.name not in text] == []
    assert lines[-3].startswith(f" Total params: {network.model.count_params():,} (")


def test_a_long_summary_keeps_its_beginning_and_its_sums() -> None:
    entry = x = keras.Input((1,))
    for number in range(450):
        x = keras.layers.Identity(name=f"layer_{number}")(x)
    x = keras.layers.Dense(3)(x)
    lines = model_summary(keras.Model(entry, x)).splitlines()
    assert len(lines) == 400
    assert any("layer_380 " in line for line in lines)
    (note,) = [line for line in lines if "lines more" in line]
    shown = sum("layer_" in line for line in lines)
    assert note == f"  ... and {451 - shown} lines more; the network has 452 layers"
    assert lines[-3].startswith(" Total params: 6 ")
