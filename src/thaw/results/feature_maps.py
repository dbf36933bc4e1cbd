"""Maps of a network's features of test images, before and after thawing: principal components, and t-SNE."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.analysis import projection
from thaw.common.errors import UserError
from thaw.report.content import FeatureMap
from thaw.run_context import RunContext
from thaw.training import head_snapshot
from thaw.training.stage_result import TrainingOutcome

# For the features after thawing: this many seconds, or this share of a long run's time.
MIN_SECONDS, SHARE_OF_RUN = 4.0, 0.02
MIN_IMAGES = 5  # of which a map says something

Features = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class MappedImages:
    """The n images of a map. correct: bool (n,), whether the class was predicted."""

    classes: Sequence[str]
    files: Sequence[str]
    correct: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FeatureMaps:
    """maps: in the order shown. remarks: sentences on maps that are not there, and why."""

    maps: list[FeatureMap] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def feature_maps(context: RunContext, trained: TrainingOutcome, probabilities: Features) -> FeatureMaps:
    """Return the maps of a run's test images; whatever fails is a remark, as the run has finished.

    probabilities: of the test split under the final network, (N, C).
    """
    made, head_alone = FeatureMaps(), None
    labels = trained.data.labels("test")
    before = None
    if trained.left_out is None:  # else the final features are those before thawing
        before = head_snapshot.load_head_features(context.folder, context.tracked.id)
    if before is not None:
        head_alone = head_snapshot.load_head_alone(context.folder, context.tracked.id)
    rows = head_snapshot.sample_rows(labels) if before is None else before.rows
    after = _attempt(made, "of features at the end", lambda: _final_features(context, trained, rows))
    if after is not None:
        rows = rows[: len(after)]
    if before is not None and head_alone is not None:
        images = _images(trained, rows, head_alone["test"])
        text = "Features before thawing", "Crosses are mistakes of the head alone."
        _add(made, "before", *text, before.features[: len(rows)], images)
    elif _thawed_after_head(trained):
        made.remarks.append("There is no map of the features before thawing: the cache did not hold them.")
    if after is not None:
        images = _images(trained, rows, probabilities)
        _add(made, "after", _final_title(trained), "Crosses are mistakes of the final network.", after, images)
    return made


def draw_maps(key: str, title: str, crosses: str, features: Features, images: MappedImages) -> list[FeatureMap]:
    """Return the principal components of finite features (n, D), and their t-SNE where they differ from these.

    crosses: a sentence on the images that are not correct.
    """
    components = projection.pca_2d(features)
    shares = _shares(features, components)
    pca = (
        f"The two directions in which the features of these {len(features):,} images vary most: they hold "
        f"{100 * shares[0]:.0f} % (x) and {100 * shares[1]:.0f} % (y) of the variance. {crosses}"
    )
    tsne = (
        f"t-SNE of the same {len(features):,} images: neighbours have similar features; axes, sizes of groups and "
        f"distances between them mean little. {crosses}"
    )
    maps = [FeatureMap(f"{key}_pca", f"{title}: principal components", pca, _points(components, images))]
    embedded = projection.tsne_2d(features)
    if not np.array_equal(embedded, components):  # too few images
        maps.append(FeatureMap(f"{key}_tsne", f"{title}: t-SNE", tsne, _points(embedded, images)))
    return maps


def _final_features(context: RunContext, trained: TrainingOutcome, rows: npt.NDArray[np.int64]) -> Features:
    sampled = trained.stages[-1].sampled_features
    if sampled is not None and len(sampled) == len(rows):
        return sampled
    from thaw.results.final_features import final_features

    seconds = max(MIN_SECONDS, SHARE_OF_RUN * context.clock.total())
    return final_features(context, trained, trained.data.splits.test[rows], seconds)


def _add(made: FeatureMaps, key: str, title: str, crosses: str, features: Features, images: MappedImages) -> None:
    if len(features) < MIN_IMAGES:
        made.remarks.append(f"There is no map of {len(features)} images: {MIN_IMAGES} are needed.")
        return
    maps = _attempt(made, f"({title.lower()})", lambda: draw_maps(key, title, crosses, features, images))
    made.maps.extend(maps or [])


def _attempt(made: FeatureMaps, what: str, compute: Callable[[], Any]) -> Any:
    """Return compute(), or None and a remark: a map is not worth a run that has finished."""
    try:
        return compute()
    except UserError as error:
        reason = str(error)
    except Exception as error:  # out of memory, or whatever an engine may raise
        reason = f"{type(error).__name__}: {error}"
    made.remarks.append(f"There is no map {what}: {reason.splitlines()[0]}")
    return None


def _images(trained: TrainingOutcome, rows: npt.NDArray[np.int64], probabilities: Features) -> MappedImages:
    labels, names, data = trained.data.labels("test")[rows], trained.data.image_names("test"), trained.data
    classes = [data.class_names[label] for label in labels]
    return MappedImages(classes, [names[row] for row in rows], probabilities[rows].argmax(axis=1) == labels)


def _thawed_after_head(trained: TrainingOutcome) -> bool:
    first, last = trained.stages[0], trained.stages[-1]
    return first.plan.all_frozen and not last.plan.all_frozen and last.left_out is None


def _final_title(trained: TrainingOutcome) -> str:
    if all(stage.plan.all_frozen for stage in trained.stages) or trained.left_out is not None:
        return "Features of the frozen backbone"
    if trained.stages[0].plan.boundary == 0 and len(trained.stages) == 1:
        return "Features after training"
    return "Features after thawing"


def _shares(features: Features, components: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the shares of the variance of all features that lie along the two axes, float64 (2,)."""
    total = features.astype(np.float64).var(axis=0).sum()
    return components.var(axis=0) / total if total else np.zeros(2)


def _points(places: npt.NDArray[np.float64], images: MappedImages) -> list[dict[str, Any]]:
    return [
        {"x": x, "y": y, "class": name, "correct": correct, "file": file}
        for (x, y), name, correct, file in zip(
            places.tolist(), images.classes, images.correct.tolist(), images.files, strict=True
        )
    ]
