"""The test images on which all settings are compared: the same content, with the same class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thaw.common.console import printable
from thaw.common.errors import UserError, joined
from thaw.compare.compared_run import ComparedRun, ManifestImage
from thaw.compare.settings import Setting

MAX_NAMES = 5  # of classes, and of settings, that an error lists


@dataclass(frozen=True, eq=False)
class SharedImages:
    """Test images that every setting was tested on, by content key, in the order of the first setting's names.

    remarks: sentences on what was left out.
    """

    images: Mapping[str, ManifestImage]
    remarks: tuple[str, ...] = ()

    def shares_right(self, settings: Sequence[Setting]) -> list[npt.NDArray[np.float64]]:
        """Return for each setting the share of its runs that have an image right, (N,); 0 or 1 of a single run.

        Where the runs have other test images each, and every setting the same ones, an image weighs by the number of
        runs that had it: the mean is then the accuracy over all runs.
        """
        counted = [self._count_right(setting) for setting in settings]
        weights = [tested / tested.mean() for _, tested in counted]
        alike = all(np.allclose(weight, weights[0]) for weight in weights)
        return [right / (tested.mean() if alike else tested) for right, tested in counted]

    def _count_right(self, setting: Setting) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        right, tested = np.zeros(len(self.images)), np.zeros(len(self.images))
        for run in setting.tested:
            for i, (key, image) in enumerate(self.images.items()):
                if (prediction := run.predictions.get(key)) is not None:
                    right[i] += prediction.predicted == image.label
                    tested[i] += 1
        return right, tested


def check_same_classes(runs: Sequence[ComparedRun]) -> None:
    """Raise UserError unless all runs have the same class names, in whatever order."""
    first = runs[0]
    for run in runs[1:]:
        only_first, only_other = (
            set(first.class_names) - set(run.class_names),
            set(run.class_names) - set(first.class_names),
        )
        if only_first or only_other:
            raise UserError(
                f"the runs are of different data sets, as their classes differ: {_named(first)} has "
                f"{len(first.class_names)}, {_named(run)} {len(run.class_names)}"
                f"{_only(first, only_first)}{_only(run, only_other)}"
            )


def find_shared_images(settings: Sequence[Setting], *, common: bool) -> SharedImages:
    """Return the images that every setting was tested on.

    Args:
        settings: At least one. The test images of a setting are those of all its runs: seeds may split differently.
        common: Whether the settings may have been tested on other images too. One that kept no predictions then has
            its own test images, and does not count.

    Raises:
        UserError: The test images differ, and `common` is not asked for, or there are none in common.
    """
    counted = [setting for setting in settings if setting.tested] if common else settings
    tested = [(setting, _test_images(setting)) for setting in counted or settings]
    first = tested[0][1]
    shared = {key: image for key, image in first.items() if all(key in images for _, images in tested)}
    labelled_alike = {
        key: image for key, image in shared.items() if all(images[key].label == image.label for _, images in tested)
    }
    other_class = len(shared) - len(labelled_alike)
    counts = joined(f"{setting.label} {len(images):,}" for setting, images in tested[:MAX_NAMES])
    counts += f", and {len(tested) - MAX_NAMES} more" if len(tested) > MAX_NAMES else ""
    if not labelled_alike:
        raise UserError(
            f"the runs are of different data sets: they have no test image in common ({counts}). "
            f"{_data_of(settings)}. images=evaluate runs each network on the test images of the first run"
        )
    largest = max(len(images) for _, images in tested)
    differ = f"{len(shared):,} test images in common ({counts})"
    differ += f", of which {other_class:,} have another class" if other_class else ""
    remarks = _split_remarks(settings)
    if len(labelled_alike) == largest:
        return SharedImages(_by_name(labelled_alike), remarks)
    if not common:
        raise UserError(
            f"the runs were not tested on the same images: {differ}. images=common compares them on those, "
            "images=evaluate runs each network on the test images of the first run"
        )
    remark = f"Compared on the {len(labelled_alike):,} test images that all settings have: {differ}."
    return SharedImages(_by_name(labelled_alike), (remark, *remarks))


def _test_images(setting: Setting) -> dict[str, ManifestImage]:
    return {key: image for run in setting.tested or setting.runs for key, image in run.test_images.items()}


def _split_remarks(settings: Sequence[Setting]) -> tuple[str, ...]:
    """Say where the runs of a setting have other test images, as seeds have that split by themselves."""
    return tuple(
        f"The runs of {setting.label} were tested on other images each, as their seeds split or chose them otherwise."
        for setting in settings
        if len({frozenset(run.test_images) for run in setting.runs}) > 1
    )


def _by_name(images: Mapping[str, ManifestImage]) -> dict[str, ManifestImage]:
    return dict(sorted(images.items(), key=lambda entry: entry[1].name))


def _data_of(settings: Sequence[Setting]) -> str:
    data = {run.data_sha256: run for setting in settings for run in setting.runs}
    return "; ".join(
        f"{_named(run)}: {printable(run.config.dataset.path or run.config.dataset.name)} (sha256 {sha256[:12]})"
        for sha256, run in list(data.items())[:MAX_NAMES]
    )


def _named(run: ComparedRun) -> str:
    return f"{run.short_id} ({printable(run.stored.name)})"


def _only(run: ComparedRun, names: set[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"; only {run.short_id}: {joined(printable(name) for name in sorted(names)[:MAX_NAMES])}{more}"
