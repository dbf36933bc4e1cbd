"""Near duplicates and outliers, on constructed features."""

import numpy as np
import pytest

from thaw.explore import near_duplicates
from thaw.explore.image_stats import ImageStats
from thaw.explore.near_duplicates import SimilarPair


@pytest.fixture
def features():
    """60 pictures of which 3 and 40, and 40 and 41 are near duplicates, and 59 is like none."""
    rng = np.random.default_rng(0)
    vectors = (1 + 0.2 * rng.random((60, 32))).astype(np.float32)
    vectors[40] = vectors[3] + 0.002 * rng.random(32)
    vectors[41] = vectors[40] + 0.004 * rng.random(32)
    vectors[59] = 0
    vectors[59, :2] = 5
    return vectors


def stats(n, thumbnails=None):
    if thumbnails is None:
        thumbnails = np.tile(np.random.default_rng(1).integers(0, 256, (16, 16), np.uint8), (n, 1, 1))
    return ImageStats(np.zeros(n, np.float32), np.zeros(n, np.float32), thumbnails)


def test_a_group_of_near_duplicates_is_held_together_by_its_most_similar_pairs(features):
    neighborhood = near_duplicates.find_neighbors(features, np.arange(60))
    pairs = near_duplicates.near_duplicate_pairs(neighborhood, stats(60), 0.9999)
    assert [(pair.row, pair.other_row) for pair in pairs] == [(3, 40), (40, 41)]
    assert pairs[0].cosine > pairs[1].cosine > 0.9999


def test_what_differs_pixel_by_pixel_is_no_near_duplicate(features):
    neighborhood = near_duplicates.find_neighbors(features, np.arange(60))
    thumbnails = stats(60).thumbnails.copy()
    thumbnails[41] = np.random.default_rng(2).integers(0, 256, (16, 16), np.uint8)
    assert [
        (p.row, p.other_row) for p in near_duplicates.near_duplicate_pairs(neighborhood, stats(60, thumbnails), 0.9999)
    ] == [(3, 40)]
    thumbnails[41] = thumbnails[40][:, ::-1]  # mirrored is alike
    assert len(near_duplicates.near_duplicate_pairs(neighborhood, stats(60, thumbnails), 0.9999)) == 2


def test_blocks_find_what_one_comparison_of_all_finds(features, monkeypatch):
    whole = near_duplicates.find_neighbors(features, np.arange(60))
    monkeypatch.setattr(near_duplicates, "QUERY_BLOCK", 7)
    parts = near_duplicates.find_neighbors(features, np.arange(60))
    np.testing.assert_array_equal(parts.indices, whole.indices)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -1)
    np.testing.assert_allclose(whole.cosines[:, 0], cosines.max(axis=1), atol=1e-5)
    assert not np.any(whole.indices == np.arange(60)[:, None])


def test_where_nothing_is_close_there_are_no_pairs(features):
    assert (
        near_duplicates.near_duplicate_pairs(near_duplicates.find_neighbors(features, np.arange(40)), stats(60), 1.0)
        == []
    )


def test_pairs_are_compared_in_blocks_as_in_one_go(features, monkeypatch):
    thumbnails = np.random.default_rng(3).integers(0, 256, (60, 16, 16), np.uint8)
    a, b = np.arange(50), np.arange(10, 60)
    whole = stats(60, thumbnails).thumbnail_correlation(a, b)
    monkeypatch.setattr("thaw.explore.image_stats.PAIRS_PER_BLOCK", 7)
    np.testing.assert_array_equal(stats(60, thumbnails).thumbnail_correlation(a, b), whole)


def test_rows_are_the_pictures_and_not_their_places(features):
    neighborhood = near_duplicates.find_neighbors(features, np.array([3, 7, 8, 40, 50]))
    assert near_duplicates.near_duplicate_pairs(neighborhood, stats(60), 0.9999) == [
        SimilarPair(3, 40, pytest.approx(1, abs=0.01))
    ]


def test_more_equals_than_neighbours_are_one_group():
    features = np.ones((50, 4), np.float32)
    neighborhood = near_duplicates.find_neighbors(features, np.arange(50))
    assert not np.any(neighborhood.indices == np.arange(50)[:, None])
    assert len(near_duplicates.near_duplicate_pairs(neighborhood, stats(50), 0.9)) > 0
    assert np.isfinite(near_duplicates.outlier_scores(neighborhood)).all()


def test_the_odd_one_is_beyond_the_fence_and_the_others_are_not(features):
    scores = near_duplicates.outlier_scores(near_duplicates.find_neighbors(features, np.arange(60)))
    assert np.flatnonzero(scores > near_duplicates.outlier_threshold(scores)).tolist() == [59]
