"""Networks and views that answer together: exact means, by the classes' names, and what cannot be averaged."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from thaw.common.errors import UserError
from thaw.config.schema import BackboneConfig
from thaw.data.decode import decode
from thaw.frozen.engine import EngineChoice
from thaw.results import ensemble
from thaw.results.augmented_views import decoded_size, views
from thaw.results.classifier import Classifier, InferenceSettings, ProbabilityFunction
from thaw.results.ensemble import combine, load_classifiers
from thaw.results.predicted_files import ImageReader, NetworkInput, stacked

CHOICE = EngineChoice("openvino", "1", "float32", "float32")


def network(names: list[str], size: int = 4, bits: int | None = None) -> Classifier:
    return Classifier(None, names, size, InferenceSettings(), bits)


def answering(*rows: list[float]) -> ProbabilityFunction:
    """A network that gives these probabilities, a row at each call, whatever it is shown."""
    left = [np.array([row], np.float32) for row in rows]
    return ProbabilityFunction(CHOICE, lambda images: left.pop(0))


def test_the_mean_is_exact_and_by_the_classes_names() -> None:
    both = combine(
        [network(["cat", "dog", "owl"]), network(["owl", "cat", "dog"])],
        [answering([0.5, 0.25, 0.25]), answering([0.75, 0.125, 0.125])],
    )
    assert both.class_names == ["cat", "dog", "owl"]
    assert both(np.zeros((1, 4, 4, 3), np.uint8)).tolist() == [[0.3125, 0.1875, 0.5]]
    assert both.passes == 2


def test_one_network_on_one_view_answers_bit_for_bit_as_alone() -> None:
    row = [0.1, 0.2, 0.7]
    (found,) = combine([network(["a", "b", "c"])], [answering(row)])(np.zeros((1, 4, 4, 3), np.uint8))
    assert found.tobytes() == np.array(row, np.float32).tobytes()


def test_two_classes_of_one_name_as_imagenet_has_stay_apart() -> None:
    (found,) = combine([network(["crane", "lion", "crane"])], [answering([0.5, 0.375, 0.125])])(
        np.zeros((1, 4, 4, 3), np.uint8)
    )
    assert found.tolist() == [0.5, 0.375, 0.125]


def test_other_classes_are_refused_and_named() -> None:
    with pytest.raises(UserError, match="one has 2, without owl and with cow besides, and the first has 2"):
        combine([network(["cat", "owl"]), network(["cow", "cat"])], [answering(), answering()])
    with pytest.raises(UserError, match="one has 1, without a, b, c and 1 more, and the first has 5"):
        combine([network(list("abcde")), network(["e"])], [answering(), answering()])


def test_each_network_sees_the_image_in_its_own_size_and_bits_decoded_once_for_each(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    seen: list[list[np.ndarray]] = [[], [], []]

    def watching(i: int) -> ProbabilityFunction:
        def answer(images: np.ndarray) -> np.ndarray:
            seen[i].append(images)
            return np.full((len(images), 2), 0.5, np.float32)

        return ProbabilityFunction(CHOICE, answer)

    three = combine(
        [network(["a", "b"], 8), network(["a", "b"], 12), network(["a", "b"], 8)], [watching(i) for i in range(3)]
    )
    assert three.inputs == [NetworkInput(8), NetworkInput(12)]
    ((file, pixels),) = next(ImageReader([str(tmp_path / "a.png")], three.inputs).groups())
    three(*stacked([pixels]))
    for i, size in enumerate((8, 12, 8)):
        assert np.array_equal(seen[i][0][0], decode(file, size=(size, size)).resized(size))
    other_bits = combine([network(["a", "b"], 8, 12), network(["a", "b"], 8)], [watching(0), watching(1)])
    assert other_bits.inputs == [NetworkInput(8, 12), NetworkInput(8)]
    assert combine([network(["a", "b"], 8, 12)], [watching(0)], bits=16).inputs == [NetworkInput(8, 16)]


def test_flip_is_the_image_and_its_mirror_image() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    plain, mirrored = views("flip", images, 4)
    assert np.array_equal(plain, images)
    assert np.array_equal(
        mirrored[1], np.asarray(Image.fromarray(images[1]).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    )


@pytest.mark.parametrize(("size", "large", "centre"), [(224, 256, 16), (299, 342, 22), (32, 37, 2), (7, 8, 0)])
def test_the_five_crops_are_the_corners_and_the_centre_of_a_larger_image(size: int, large: int, centre: int) -> None:
    """As torchvision's five_crop: the centre's corner is int(round(margin / 2))."""
    assert decoded_size("5crop", size) == large
    image = np.random.default_rng(0).integers(0, 256, (large, large, 3), np.uint8)
    picture, margin = Image.fromarray(image), large - size
    corners = [(0, 0), (margin, 0), (0, margin), (margin, margin), (centre, centre)]  # left, top
    crops = [np.asarray(picture.crop((x, y, x + size, y + size))) for x, y in corners]
    found = [view[0] for view in views("5crop", image[None], size)]
    assert len(found) == 5
    assert all(np.array_equal(crop, view) for crop, view in zip(crops, found, strict=True))


def test_without_augmentation_there_is_one_view() -> None:
    images = np.zeros((1, 4, 4, 3), np.uint8)
    assert [view is images for view in views("none", images, 4)] == [True]
    assert (decoded_size("none", 224), decoded_size("flip", 224)) == (224, 224)


def test_probabilities_of_views_and_networks_have_one_mean() -> None:
    both = combine(
        [network(["a", "b"], 7), network(["b", "a"], 14)],
        [answering(*[[0.5, 0.5]] * 4, [1.0, 0.0]), answering(*[[0.25, 0.75]] * 5)],
        tta="5crop",
    )
    assert both.inputs == [NetworkInput(8), NetworkInput(16)]
    assert both.passes == 10
    found = both(np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 16, 16, 3), np.uint8))
    assert found.tolist() == np.array([[(4 * 0.5 + 1.0 + 5 * 0.75) / 10, (4 * 0.5 + 5 * 0.25) / 10]], "f4").tolist()


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Networks of files: of `folds` there are three, of any other name one."""

    def find(model: str, *_: object) -> list:
        names = [f"{model}-{i}" for i in range(3)] if model == "folds" else [model]
        return [(SimpleNamespace(weights_file=tmp_path / name), InferenceSettings()) for name in names]

    monkeypatch.setattr(ensemble.trained_classifier, "find_saved_networks", find)
    monkeypatch.setattr(ensemble.trained_classifier, "load_trained", lambda saved, _: saved.weights_file.name)


def test_a_list_names_networks_and_a_cross_validation_all_its_folds(saved, tmp_path: Path) -> None:
    def load(model: object) -> list:
        return load_classifiers(model, BackboneConfig(), tmp_path, "")

    assert load("one") == ["one"]
    assert load(["one", "two"]) == ["one", "two"]
    assert load("folds") == ["folds-0", "folds-1", "folds-2"]
    assert load(["one", "folds"]) == ["one", "folds-0", "folds-1", "folds-2"]
    with pytest.raises(UserError, match=r"model=\[\] names no network"):
        load([])
    with pytest.raises(UserError, match=r"model=one, one names a network twice, .*one: leave one out"):
        load(["one", "one"])
