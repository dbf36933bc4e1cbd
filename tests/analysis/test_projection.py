import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from thaw.analysis.projection import pca_2d, tsne_2d


def test_principal_components_are_those_of_a_planted_plane() -> None:
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(200, 2)) * [5.0, 1.0]
    plane = (plane - plane.mean(axis=0)) @ np.linalg.svd(plane - plane.mean(axis=0), full_matrices=False)[2].T
    axes = np.zeros((2, 30))
    axes[0, 3], axes[1, 7] = 1.0, -1.0
    features = (plane @ axes + 2.0).astype(np.float32)
    points = pca_2d(features)
    assert (points.dtype, points.shape) == (np.float64, (200, 2))
    # Feature 3 grows along the first axis, and feature 7 along the second.
    np.testing.assert_allclose(points, plane * [1.0, -1.0], atol=1e-5)


def test_mirrored_features_give_a_mirrored_map() -> None:
    features = np.random.default_rng(1).normal(size=(50, 8))
    np.testing.assert_allclose(pca_2d(-features), -pca_2d(features), atol=1e-9)


def grouped(n: int = 90) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    centres = rng.normal(size=(3, 60)) * 5
    return (centres[labels] + rng.normal(size=(n, 60))).astype(np.float32), labels


def test_tsne_keeps_groups_apart() -> None:
    features, labels = grouped()
    points = tsne_2d(features)
    assert (points.dtype, points.shape) == (np.float64, (90, 2))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (labels[distances.argmin(axis=1)] == labels).all()


def test_maps_are_the_same_bytes_each_time_whatever_the_number_of_threads() -> None:
    many, (features, _) = np.random.default_rng(0).random((1500, 600)), grouped()
    with threadpool_limits(1):
        once = pca_2d(many), tsne_2d(features)
    with threadpool_limits(2):
        again = pca_2d(many), tsne_2d(features)
    np.testing.assert_array_equal(once[0], again[0])
    np.testing.assert_array_equal(once[1], again[1])


@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (2, 4), (4, 1), (3, 2), (7, 3), (40, 1)])
def test_few_images_and_few_features_have_a_map(shape: tuple[int, int]) -> None:
    features = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    for points in (pca_2d(features), tsne_2d(features)):
        assert points.shape == (shape[0], 2)
        assert np.isfinite(points).all()


def test_images_that_are_all_the_same_lie_on_one_point() -> None:
    assert (pca_2d(np.ones((6, 4))) == 0).all()
    assert (tsne_2d(np.ones((6, 4))) == 0).all()
