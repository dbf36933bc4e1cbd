"""Galleries of planted predictions: which files, in which order, with what said about them. No TensorFlow."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thaw.data import pixels
from thaw.data.catalog import Catalog
from thaw.data.pixels import Pixels
from thaw.results import report_galleries
from thaw.results.report_galleries import galleries, to_explain

CLASSES = ("ant", "bee", "<b>$")
# File, true class, probabilities.
PLANTED = [
    ("sure_hit", 0, (0.98, 0.01, 0.01)),
    ("unsure_hit", 0, (0.40, 0.35, 0.25)),
    ("hit", 1, (0.20, 0.70, 0.10)),
    ("surest_mistake", 1, (0.0005, 0.0001, 0.9994)),
    ("mistake", 2, (0.50, 0.30, 0.20)),
    ("third", 2, (0.10, 0.00, 0.90)),
]
NAMES = [f"test/{name}.png" for name, _, _ in PLANTED]
LABELS = np.array([label for _, label, _ in PLANTED], np.int32)
PROBABILITIES = np.array([row for *_, row in PLANTED], np.float32)


@pytest.fixture
def photos(tmp_path: Path) -> Pixels:
    """A file for each, behind two that are not in the split; a wide one of each red."""
    paths = [tmp_path / f"{i}.png" for i in range(2)] + [tmp_path / Path(name).name for name in NAMES]
    for i, path in enumerate(paths):
        Image.new("RGB", (400, 200), (30 * i, 0, 0)).save(path)
    labels = np.concatenate([[0, 0], LABELS]).astype(np.int32)
    catalog = Catalog(
        ("a", "b", *NAMES), tuple(map(str, paths)), None, labels, CLASSES, np.full(len(paths), -1, np.int8)
    )
    return pixels.of_catalog(catalog, np.arange(len(paths)), 32)


def of_planted(photos: Pixels, **options) -> dict:
    indices = np.arange(2, 2 + len(NAMES))
    found = galleries(photos, indices, NAMES, PROBABILITIES, LABELS, CLASSES, **options)
    return {gallery.key: gallery for gallery in found}


def files(gallery) -> list[str]:
    return [Path(image.file).stem for image in gallery.images]


def test_an_image_that_is_gone_or_changed_is_not_readable_and_the_others_are(photos: Pixels) -> None:
    indices = np.arange(2, 2 + len(NAMES))
    assert report_galleries.readable(photos, indices, [3, 0, 4]) == [3, 0, 4]
    paths = photos.catalog.paths
    assert paths is not None
    Path(paths[2 + 3]).unlink()
    Path(paths[2 + 4]).write_text("not a picture")
    assert report_galleries.readable(photos, indices, [3, 0, 4]) == [0]


def test_each_gallery_shows_the_planted_files_in_its_order(photos: Pixels) -> None:
    found = of_planted(photos)
    assert {key: files(gallery) for key, gallery in found.items()} == {
        "mistakes": ["surest_mistake", "mistake"],
        "suspects": ["surest_mistake"],
        "uncertain": ["unsure_hit", "hit", "third", "sure_hit"],
        "typical": ["sure_hit", "hit", "third"],
    }
    assert {key: gallery.total for key, gallery in found.items()} == {
        "mistakes": 2, "suspects": 1, "uncertain": 4, "typical": 3,
    }  # fmt: skip
    assert "Hints, not findings" in found["suspects"].meaning


def test_a_picture_comes_with_its_classes_file_and_probabilities(photos: Pixels) -> None:
    found = of_planted(photos)
    surest, unsure = found["mistakes"].images[0], found["uncertain"].images[0]
    assert (surest.true, surest.predicted, surest.file) == ("bee", "<b>$", "test/surest_mistake.png")
    assert surest.probability == pytest.approx(0.9994)
    assert surest.note == "bee: below 0.1 %", "of the true class"
    assert (unsure.true, unsure.predicted, unsure.note) == ("ant", "ant", "bee: 35.0 %"), "of the next one"
    assert found["uncertain"].images[2].note == "ant: 10.0 %"
    with Image.open(io.BytesIO(surest.jpeg)) as picture:
        assert picture.size == (160, 80)
        assert abs(picture.getpixel((80, 40))[0] - 30 * (2 + 3)) < 5, "the image of this file and no other"


def test_a_limit_cuts_what_is_shown_and_not_what_is_counted(photos: Pixels) -> None:
    found = of_planted(photos, limit=1)
    assert [files(found[key]) for key in ("mistakes", "uncertain")] == [["surest_mistake"], ["unsure_hit"]]
    assert found["mistakes"].total == 2
    assert len(found["typical"].images) == 3


def test_with_features_the_typical_image_is_nearest_to_its_classs_mean(photos: Pixels) -> None:
    features = np.array([[0.0], [1.0], [5.0], [9.0], [5.0], [5.0]], np.float32)
    typical = of_planted(photos, features=features)["typical"]
    assert files(typical) == ["sure_hit", "hit", "mistake"]
    assert "nearest to the mean of its class" in typical.meaning


def test_an_image_in_two_galleries_is_decoded_once(photos: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []

    def thumbnail(_: Pixels, index: int, side: int) -> bytes:
        decoded.append((index, side))
        return b"jpeg"

    monkeypatch.setattr(report_galleries, "thumbnail_jpeg", thumbnail)
    of_planted(photos)
    assert sorted(decoded) == [(index, 160) for index in range(2, 8)]


def test_a_file_that_has_gone_or_is_no_image_any_more_is_left_out_and_named(photos: Pixels) -> None:
    assert photos.catalog.paths is not None
    Path(photos.catalog.paths[2 + 3]).unlink()
    Path(photos.catalog.paths[2 + 1]).write_bytes(b"not an image")
    found = of_planted(photos)
    assert (files(found["mistakes"]), found["mistakes"].total) == (["mistake"], 2)
    assert found["mistakes"].meaning.endswith(" Left out, as changed or gone since the scan: test/surest_mistake.png.")
    assert found["uncertain"].meaning.endswith("test/unsure_hit.png.")
    assert "Left out" not in found["typical"].meaning
    assert files(found["suspects"]) == []


def test_a_gallery_without_images_is_not_there(photos: Pixels) -> None:
    right = np.eye(3, dtype=np.float32)[LABELS]
    found = galleries(photos, np.arange(2, 8), NAMES, right, LABELS, CLASSES)
    assert [gallery.key for gallery in found] == ["uncertain", "typical"]


def test_at_most_sixty_typical_images_are_shown_of_any_number_of_classes() -> None:
    count = 70
    arrays, labels = np.zeros((count, 8, 8, 3), np.uint8), np.arange(count, dtype=np.int32)
    names = tuple(map(str, range(count)))
    catalog = Catalog(names, None, arrays, labels, names, np.full(count, -1, np.int8))
    probabilities = np.eye(count, dtype=np.float32)
    found = galleries(pixels.of_catalog(catalog, labels, 8), labels, names, probabilities, labels, names)
    typical = next(gallery for gallery in found if gallery.key == "typical")
    assert (len(typical.images), typical.total) == (60, 70)


def test_hits_to_explain_are_of_many_classes_and_mistakes_the_surest() -> None:
    assert to_explain(PROBABILITIES, LABELS, 3) == ([0, 5, 2], [3, 4])
    assert to_explain(PROBABILITIES, LABELS, 4)[0] == [0, 5, 2, 1]
    assert to_explain(PROBABILITIES, LABELS, 1) == ([0], [3])
