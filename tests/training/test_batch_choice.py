"""The batch that fits memory, and the one that is suggested. No TensorFlow."""

import math

import pytest

from thaw.training.batch_choice import BatchFigures, expected_bytes, largest, suggest

# 1 GB, and 10 MB for each image; speed grows to 100 images/s.
FIGURES = [
    BatchFigures(size, speed, 1_000_000_000 + 10_000_000 * size)
    for size, speed in ((8, 50.0), (16, 80.0), (32, 92.0), (64, 100.0))
]


def test_memory_grows_with_the_images_of_a_batch() -> None:
    assert expected_bytes(FIGURES, 512) == pytest.approx(6.12e9)


@pytest.mark.parametrize(
    ("limit", "images", "size"),
    [
        (3.1e9, 10_000, 128),  # 2.28 GB of 2.33, three quarters
        (3.0e9, 10_000, 64),
        (100e9, 10_000, 4096),
        (100e9, 500, 256),
        (math.inf, 10_000, 64),  # a GPU says itself when it has no more
    ],
)
def test_what_is_not_tried_fits_three_quarters_of_memory_and_has_no_more_than_all_images(
    limit: float, images: int, size: int
) -> None:
    assert largest(FIGURES, limit, images) == size


def test_where_memory_has_not_grown_nothing_is_foretold() -> None:
    flat = [BatchFigures(8, 50.0, 10**9), BatchFigures(16, 60.0, 10**9)]
    assert largest(flat, 100e9, 10_000) == 16


def test_the_smallest_of_nearly_the_highest_speed_is_suggested() -> None:
    assert suggest(FIGURES) == 32
    assert suggest([*FIGURES[:2], BatchFigures(32, 70.0, 2 * 10**9)]) == 16
