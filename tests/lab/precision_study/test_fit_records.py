"""Fits of heads on features, their splits, and what is read from them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from thaw_lab.precision_study import fit_records, study_ranking
from thaw_lab.precision_study.fit_records import FitRecord, FitStudy
from thaw_lab.precision_study.run_precision_study import differences
from thaw_lab.precision_study.study_features import FeatureStore, StudyNetwork
from thaw_lab.precision_study.study_heads import Head
from thaw_lab.precision_study.study_images import StudyImages, load_study_images

NETWORK = StudyNetwork("efficientnet_lite0", 224)
RECORD = FitRecord("digits", NETWORK.label, "float32", "logistic", 0, 0.5, 1.0, [], [], 0)


class PixelFeatures(FeatureStore):
    """The grey values as features; those of `int8` are wrong for a half of the images."""

    def features(self, network: StudyNetwork, images: StudyImages, layers: str = "pooled") -> dict[str, list]:
        exact = np.stack([source.ravel() for source in images.sources]).astype(np.float32)
        coarse = exact * (np.arange(len(exact)) % 2)[:, None]
        return {"float32": [exact], "bfloat16": [exact], "int8": [coarse]}


def test_five_seeds_test_every_image_once_where_there_is_no_test_set() -> None:
    images = load_study_images("digits", Path())
    tests = np.concatenate([images.split(seed)[2] for seed in range(5)])
    assert np.array_equal(np.sort(tests), np.arange(1797))
    train, validation, test = images.split(3)
    assert len(np.unique(np.concatenate([train, validation, test]))) == 1797


def test_calibration_does_not_see_test_images() -> None:
    images = dataclasses.replace(load_study_images("digits", Path()), is_test=np.arange(1797) >= 500)
    rows = images.calibration_rows(304)
    assert len(rows) == 304
    assert rows.max() < 500


def test_a_head_is_judged_on_the_features_it_was_fitted_on_and_on_float32_ones(tmp_path: Path) -> None:
    images, head = load_study_images("digits", Path()), Head(hidden=None)
    study = FitStudy(PixelFeatures(tmp_path), tmp_path / "fits.jsonl")
    exact, same, coarse = (study.fit(images, NETWORK, p, head, 0) for p in ("float32", "bfloat16", "int8"))
    assert exact.own == exact.by_float32 == same.own
    assert exact.validation_accuracy > 0.9
    assert coarse.validation_accuracy < 0.7
    assert coarse.own != coarse.by_float32
    assert coarse.parity > 0
    lost = differences(images, [coarse], [exact], "own")
    assert len(lost) == len(exact.own)
    assert lost.mean() == pytest.approx(-0.45, abs=0.1)  # nine of ten of a half


def test_a_fit_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, path = load_study_images("digits", Path()), tmp_path / "fits.jsonl"
    first = FitStudy(PixelFeatures(tmp_path), path).fit(images, NETWORK, "float32", Head(hidden=None), 0)
    monkeypatch.setattr(fit_records, "fit_once", None)
    assert FitStudy(PixelFeatures(tmp_path), path).fit(images, NETWORK, "float32", Head(hidden=None), 0) == first


def test_of_equal_accuracies_the_smaller_loss_wins() -> None:
    losses = [(0.8, 0.1), (0.9, 0.6), (0.9, 0.5)]
    fits = [dataclasses.replace(RECORD, validation_accuracy=a, validation_loss=b) for a, b in losses]
    assert study_ranking.winner(fits) == 2
