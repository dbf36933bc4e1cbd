"""Maps of planted features, and what becomes of a run that cannot have one. No TensorFlow."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from thaw.results import feature_maps as module
from thaw.results.feature_maps import MappedImages, draw_maps, feature_maps
from thaw.training import head_snapshot

RNG = np.random.default_rng(0)
LABELS = np.arange(40, dtype=np.int32) % 2
# Two clusters, 20 deviations apart along one of 16 features.
FEATURES = RNG.normal(0, 1, (40, 16)).astype(np.float32)
FEATURES[LABELS == 1, 3] += 20
IMAGES = MappedImages([f"class {x}" for x in LABELS], [f"{i}.png" for i in range(40)], np.arange(40) != 7)


def places(feature_map) -> np.ndarray:
    return np.array([[point["x"], point["y"]] for point in feature_map.points])


def test_two_clusters_stay_two_clusters() -> None:
    for drawn in draw_maps("before", "Features", "Crosses.", FEATURES, IMAGES):
        one, other = places(drawn)[LABELS == 0], places(drawn)[LABELS == 1]
        radius = max(np.linalg.norm(group - group.mean(axis=0), axis=1).max() for group in (one, other))
        assert np.linalg.norm(one.mean(axis=0) - other.mean(axis=0)) > radius, drawn.key


def test_points_carry_class_file_and_mistake_and_the_axes_are_explained() -> None:
    pca, tsne = draw_maps("before", "Features", "Crosses are planted.", FEATURES, IMAGES)
    assert (pca.key, tsne.key) == ("before_pca", "before_tsne")
    assert [point["file"] for point in tsne.points if not point["correct"]] == ["7.png"]
    assert [point["class"] for point in pca.points] == IMAGES.classes
    assert set(pca.points[0]) == {"x", "y", "class", "correct", "file"}
    assert pca.explained.endswith("Crosses are planted.")
    assert tsne.explained.startswith("t-SNE of the same 40 images")


def test_the_shares_of_variance_are_those_of_the_axes() -> None:
    flat = np.zeros((40, 16), np.float32)
    flat[:, 0], flat[:, 5], flat[:, 9] = np.tile([-3, 3], 20), np.tile([-1, -1, 1, 1], 10), np.repeat([-0.5, 0.5], 20)
    pca, _ = draw_maps("x", "Features", "", flat, IMAGES)
    assert "88 % (x) and 10 % (y) of the variance" in pca.explained  # 9, 1 and 0.25 of 10.25
    assert np.abs(places(pca)[:, 0]) == pytest.approx(np.full(40, 3.0))


def run(tmp_path: Path, stages: list[int], sampled: np.ndarray | None = None) -> tuple:
    """A run of 40 test images that has trained in stages with these boundaries, of 10 layers."""
    results = [
        SimpleNamespace(
            plan=SimpleNamespace(all_frozen=boundary == 10, boundary=boundary), sampled_features=None, left_out=None,
            stage=SimpleNamespace(number=i), probabilities={},
        )
        for i, boundary in enumerate(stages)
    ]  # fmt: skip
    results[-1].sampled_features = sampled
    data = SimpleNamespace(
        labels=lambda split: LABELS, image_names=lambda split: IMAGES.files, class_names=("class 0", "class 1"),
        splits=SimpleNamespace(test=np.arange(100, 140)),
    )  # fmt: skip
    context = SimpleNamespace(
        folder=tmp_path, tracked=SimpleNamespace(id="run"), clock=SimpleNamespace(total=lambda: 1000.0)
    )
    return context, SimpleNamespace(stages=results, data=data, left_out=results[-1].left_out)


def probabilities(wrong: int) -> np.ndarray:
    """Of 40 images, the one with this number in a wrong class."""
    right = np.eye(2, dtype=np.float32)[LABELS]
    right[wrong] = right[wrong][::-1]
    return right


def save_head(folder: Path) -> np.ndarray:
    rows = head_snapshot.sample_rows(LABELS)
    result = SimpleNamespace(
        stage=SimpleNamespace(number=0), probabilities={"test": probabilities(3)}, sampled_features=FEATURES[rows]
    )
    head_snapshot.save_head_alone(folder, "run", "data", result, rows)
    return rows


def mistakes(feature_map) -> list[str]:
    return [point["file"] for point in feature_map.points if not point["correct"]]


def test_a_fine_tuned_run_has_maps_before_and_after_of_the_same_images(tmp_path: Path, monkeypatch) -> None:
    rows = save_head(tmp_path)
    asked = []

    def final(context, trained, indices, seconds):
        asked.append((indices.tolist(), seconds))
        return FEATURES[rows][:30]  # the time was over

    monkeypatch.setattr("thaw.results.final_features.final_features", final)
    made = feature_maps(*run(tmp_path, [10, 4]), probabilities(5))
    assert asked == [((100 + rows).tolist(), 20.0)], "2 % of the run's 1,000 seconds"
    assert made.remarks == []
    assert [drawn.key for drawn in made.maps] == ["before_pca", "before_tsne", "after_pca", "after_tsne"]
    files = [[point["file"] for point in drawn.points] for drawn in made.maps]
    assert files == [[f"{row}.png" for row in rows[:30]]] * 4
    assert [mistakes(drawn) for drawn in made.maps] == [["3.png"]] * 2 + [["5.png"]] * 2


def test_a_bottleneck_has_the_map_of_its_frozen_backbone_from_the_cache(tmp_path: Path) -> None:
    rows = head_snapshot.sample_rows(LABELS)
    made = feature_maps(*run(tmp_path, [10], FEATURES[rows]), probabilities(5))
    assert [drawn.title for drawn in made.maps] == [
        "Features of the frozen backbone: principal components", "Features of the frozen backbone: t-SNE",
    ]  # fmt: skip
    assert mistakes(made.maps[0]) == ["5.png"]
    assert made.remarks == []


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("the engine\nhas no room")])
def test_what_fails_is_a_remark_and_the_other_maps_are_there(tmp_path: Path, monkeypatch, error: Exception) -> None:
    def fail(*arguments: object) -> None:
        raise error

    save_head(tmp_path)
    monkeypatch.setattr("thaw.results.final_features.final_features", fail)
    made = feature_maps(*run(tmp_path, [10, 4]), probabilities(5))
    assert [drawn.key for drawn in made.maps] == ["before_pca", "before_tsne"]
    said = {"MemoryError": "MemoryError: ", "RuntimeError": "RuntimeError: the engine"}[type(error).__name__]
    assert made.remarks == [f"There is no map of features at the end: {said}"]


def test_features_that_are_not_finite_are_a_remark(tmp_path: Path) -> None:
    spoilt = FEATURES.copy()
    spoilt[0, 0] = np.nan
    made = feature_maps(*run(tmp_path, [10], spoilt), probabilities(5))
    assert made.maps == []
    assert "Input X contains NaN" in made.remarks[0]


def test_without_features_from_before_a_remark_says_why_there_is_one_map(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("thaw.results.final_features.final_features", lambda *arguments: FEATURES)
    made = feature_maps(*run(tmp_path, [10, 4]), probabilities(5))
    assert [drawn.key for drawn in made.maps] == ["after_pca", "after_tsne"]
    assert made.remarks == ["There is no map of the features before thawing: the cache did not hold them."]
    scratch = feature_maps(*run(tmp_path, [0]), probabilities(5))
    assert scratch.maps[0].title == "Features after training: principal components"
    assert scratch.remarks == []


def test_four_images_make_no_map(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("thaw.results.final_features.final_features", lambda *arguments: FEATURES[:4])
    made = feature_maps(*run(tmp_path, [0]), probabilities(5))
    assert (made.maps, made.remarks) == ([], ["There is no map of 4 images: 5 are needed."])
    assert module.MIN_IMAGES == 5
