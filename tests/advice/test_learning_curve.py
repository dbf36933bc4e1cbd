"""What more training images are worth, from features of known classes. No TensorFlow."""

import numpy as np

from thaw.advice.learning_curve import CurvePoint, learning_curve, more_data_sentence


def features(n: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of three classes whose means are corners of a cube in 40 dimensions."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n, dtype=np.int32) % 3
    means = np.random.default_rng(0).normal(size=(3, 40))
    return (means[labels] + noise * rng.normal(size=(n, 40))).astype(np.float32), labels


def test_the_curve_has_the_shares_rises_and_is_the_same_again() -> None:
    (train, of_train), (val, of_val) = features(120, 3.0, 1), features(600, 3.0, 2)
    data = {"train": train, "val": val}, {"train": of_train, "val": of_val}
    curve = learning_curve(*data, 3, 0)
    assert [(point.share, point.images) for point in curve] == [(0.25, 30), (0.5, 60), (1.0, 120)]
    assert curve[0].accuracy < curve[2].accuracy
    assert learning_curve(*data, 3, 0) == curve


def test_a_class_with_one_image_is_no_obstacle() -> None:
    (train, of_train), (val, of_val) = features(40, 1.0, 1), features(60, 1.0, 2)
    of_train = np.where(np.arange(40) == 0, 3, of_train).astype(np.int32)
    curve = learning_curve({"train": train, "val": val}, {"train": of_train, "val": of_val}, 4, 0)
    assert [point.images for point in curve] == [10, 20, 40]


def test_a_share_with_fewer_images_than_classes_has_no_point() -> None:
    data = {"train": features(9, 1.0, 1), "val": features(60, 1.0, 2)}
    arrays, labels = ({split: pair[i] for split, pair in data.items()} for i in (0, 1))
    curve = learning_curve(arrays, labels, 3, 0)
    assert [(point.share, point.images) for point in curve] == [(0.5, 4), (1.0, 9)]
    few = learning_curve(
        *({split: rows if split == "val" else rows[:3] for split, rows in d.items()} for d in (arrays, labels)), 3, 0
    )
    assert [point.images for point in few] == [3]
    assert more_data_sentence(few, 60) == "more images: there are too few to say what more of them would bring"


def test_the_sentence_sets_the_gain_beside_the_noise() -> None:
    def said(half: float, whole: float, images: int) -> str:
        points = [CurvePoint(0.25, 25, 0.5), CurvePoint(0.5, 50, half), CurvePoint(1.0, 100, whole)]
        return more_data_sentence(points, images)

    assert said(0.7, 0.8, 1000).startswith("more images: would help; with frozen features validation accuracy is")
    assert "0.500 with 25, 0.700 with 50, 0.800 with 100 of them" in said(0.7, 0.8, 1000)
    assert "gained 10.0 points (noise 1.8)" in said(0.7, 0.8, 1000)
    assert "may help little" in said(0.79, 0.8, 100)
    assert "are not shown to help" in said(0.8, 0.8, 1000)
