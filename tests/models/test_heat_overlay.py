"""Heat over a picture: colours that everybody can tell apart, and nothing over what is cold."""

import matplotlib
import numpy as np

from thaw.models.heat_overlay import heat_colours, overlay

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)


def test_the_colours_are_plasmas_within_6_of_255() -> None:
    places = np.linspace(0, 1, 256, dtype=np.float32)
    right = 255 * np.array(matplotlib.colormaps["plasma"].colors)
    assert np.abs(heat_colours(places) - right).max() < 6


def test_lightness_grows_with_the_heat() -> None:
    lightness = heat_colours(np.linspace(0, 1, 50, dtype=np.float32)) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > 0).all()


def test_without_heat_the_picture_is_untouched() -> None:
    np.testing.assert_array_equal(np.asarray(overlay(PICTURE, np.zeros((7, 7), np.float32))), PICTURE)


def test_the_hottest_place_is_covered_by_alpha() -> None:
    hot = np.ones((1, 1), np.float32)
    np.testing.assert_array_equal(
        np.asarray(overlay(PICTURE, hot, alpha=1.0)), np.broadcast_to((240, 249, 33), PICTURE.shape)
    )
    half = (PICTURE / 2 + np.array([240, 249, 33]) / 2).round()
    np.testing.assert_array_equal(np.asarray(overlay(PICTURE, hot, alpha=0.5)), half)


def test_heat_lies_where_it_belongs_on_a_picture_of_another_shape() -> None:
    """The upper right of four places: rows 0-19, columns 30-59 of a picture of 40 x 60."""
    heat = np.array([[0, 1], [0, 0]], np.float32)
    changed = np.abs(np.asarray(overlay(np.zeros_like(PICTURE), heat), int)).sum(axis=-1)
    row, column = np.unravel_index(changed.argmax(), changed.shape)
    assert row < 10
    assert column >= 45
    assert changed[30:].max() == 0
    assert changed[:, :15].max() == 0
    smooth = changed[5].astype(float)
    assert (np.diff(smooth[15:45]) >= 0).all()  # it fades, in no steps
    assert len(set(smooth)) > 20
