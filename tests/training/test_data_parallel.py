"""Training on two devices is training on one, but for rounding; stopped and resumed it is the same to the last bit.

The devices are two logical CPUs of one process; no GPU was at hand.
"""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from thaw.training import data_parallel

SCRIPT = Path(__file__).parent / "fitting_on_devices.py"
SOURCE = SCRIPT.parents[2] / "src"
# Largest differences of losses and weights, which are around 1; in float16 the outputs have 11 bits.
TOLERANCE = {"float16": 5e-3, "adamw": 2e-4}


def outcomes(folder: Path, *arguments: str) -> dict:
    out = folder / "outcomes.pkl"
    env = {**os.environ, "THAW_LOGICAL_CPUS": "2", "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, str(SCRIPT), str(out), *arguments]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr
    return pickle.loads(out.read_bytes())


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> dict:
    return outcomes(tmp_path_factory.mktemp("fitted"))


@pytest.fixture(scope="module")
def fitted_slowly(tmp_path_factory) -> dict:
    return outcomes(tmp_path_factory.mktemp("fitted"), "slow")


def assert_same_course(one: dict, two: dict, tolerance: float = 2e-5) -> None:
    assert len(one["history"]) == len(two["history"])
    for a, b in zip(one["history"], two["history"], strict=True):
        assert a.keys() == b.keys()
        for name in ("loss", "val_loss", "learning_rate"):
            assert b[name] == pytest.approx(a[name], abs=tolerance), name
        assert b["accuracy"] == pytest.approx(a["accuracy"], abs=1e-6), "each image counts once"
    for a, b in zip(one["weights"], two["weights"], strict=True):
        np.testing.assert_allclose(b, a, atol=10 * tolerance)


@pytest.mark.parametrize("case", ["plain", "sigmoid"])
def test_two_devices_have_the_losses_of_one_with_batchnorm_class_weights_and_a_short_batch(fitted, case: str) -> None:
    losses = [entry["loss"] for entry in fitted[case, 1]["history"]]
    assert abs(losses[0] - losses[-1]) > 0.1, "the steps must change the network, or this test sees nothing"
    assert_same_course(fitted[case, 1], fitted[case, 2])


@pytest.mark.slow
@pytest.mark.parametrize("case", ["smoothed", "adamw", "one image left", "float16"])
def test_so_they_have_otherwise(fitted_slowly, case: str) -> None:
    assert_same_course(fitted_slowly[case, 1], fitted_slowly[case, 2], TOLERANCE.get(case, 2e-5))


def test_all_devices_have_the_same_weights_at_the_end(fitted) -> None:
    for copies in fitted["plain", 2]["copies"]:
        assert len(copies) == 2
        assert copies[0].tobytes() == copies[1].tobytes()


def test_the_network_is_kept_as_it_would_be_from_one_device(fitted) -> None:
    assert fitted["plain", 2]["synchronized"] == [False]


def assert_same_to_the_last_bit(whole: dict, resumed: dict) -> None:
    assert resumed["history"] == whole["history"]
    assert [w.tobytes() for w in resumed["weights"]] == [w.tobytes() for w in whole["weights"]]


def test_stopped_in_an_epoch_and_resumed_it_ends_as_if_it_had_not_been(fitted) -> None:
    assert_same_to_the_last_bit(fitted["dropout", 2], fitted["dropout", 2, 3])


@pytest.mark.slow
@pytest.mark.parametrize("moment", [4, 5, 7])
def test_so_it_does_stopped_elsewhere(fitted_slowly, moment: int) -> None:
    assert_same_to_the_last_bit(fitted_slowly["dropout", 2], fitted_slowly["dropout", 2, moment])


@pytest.mark.parametrize("counts", [(1, 2), (2, 1)])
def test_what_stopped_on_one_number_of_devices_continues_on_another(fitted, counts: tuple[int, int]) -> None:
    assert_same_course(fitted["plain", 1], fitted["plain", counts])


@pytest.mark.parametrize("parts", [2, 3, 8])
@pytest.mark.parametrize("images", [1, 2, 5, 8, 32])
def test_parts_are_never_empty_and_hold_every_image_once(images: int, parts: int) -> None:
    rows = [data_parallel.part_rows(images, part, parts).numpy() for part in range(parts)]
    sizes = {len(part) for part in rows}
    assert min(sizes) > 0
    assert max(sizes) - min(sizes) <= 1
    in_order = np.concatenate(rows)
    assert in_order[:images].tolist() == list(range(images))
    assert (in_order[images:] >= images).all()


def test_devices_draw_other_numbers_for_dropout_and_the_first_those_of_one_device() -> None:
    words = []

    class Copy:
        def assign(self, value) -> None:
            words.append(value)

    class Strategy:
        def experimental_local_results(self, value):
            return Copy(), Copy(), Copy()

    class Counter:
        value = None

    model = data_parallel.DataParallelModel.__new__(data_parallel.DataParallelModel)
    object.__setattr__(model, "strategy", Strategy())
    data_parallel.assign_counter(model, Counter(), 2**32 - 1, 5)
    assert words[0] == [2**32 - 1, 5]
    assert len({word for word, _ in words}) == 3
    assert all(0 <= word < 2**32 and count == 5 for word, count in words)
