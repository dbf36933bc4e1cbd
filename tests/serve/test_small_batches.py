"""Few images are padded less only where a trial shows that no probability changes."""

import numpy as np
import pytest

from thaw.frozen import engine
from thaw.serve.small_batches import TRIAL_SIZES, fast_for_few, trial_images


class Engine:
    """Computes means; with less padding they are off by `error`."""

    def __init__(self, error: float) -> None:
        self.error = error
        self.calls: list[tuple[int, bool]] = []

    def __call__(self, images: np.ndarray) -> np.ndarray:
        unpadded = engine._small_requests.get()
        self.calls.append((len(images), unpadded))
        return images.reshape(len(images), -1, 3).mean(axis=1) / 255 + self.error * unpadded


@pytest.mark.parametrize(
    ("error", "precision", "fast"),
    [(0.0, "float32", True), (0.0, "bfloat16", True), (1e-7, "float32", True), (1e-7, "bfloat16", False),
     (1e-4, "float32", False), (np.nan, "float32", False)],
)  # fmt: skip
def test_the_trial_decides(error: float, precision: str, fast: bool) -> None:
    computed = Engine(error)
    served = fast_for_few(computed, 32, precision)
    assert [call for call in computed.calls if call[1]] == [(size, True) for size in TRIAL_SIZES]
    computed.calls.clear()
    served(trial_images(32, 3))
    assert computed.calls == [(3, fast)]
    assert not engine._small_requests.get()


def test_the_trials_images_differ_and_are_the_same_each_time() -> None:
    images = trial_images(30, 7)
    assert images.shape == (7, 30, 30, 3)
    assert len({image.tobytes() for image in images}) == 7
    assert (images == trial_images(30, 7)).all()
