"""Networks as they answer together: their probabilities, and those of an image's views, are averaged."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw.common.errors import UserError, joined
from thaw.config.schema import BackboneConfig
from thaw.results import trained_classifier
from thaw.results.augmented_views import VIEWS, decoded_size, views
from thaw.results.predicted_files import NetworkInput
from thaw.results.trained_classifier import Classifier, ProbabilityFunction

Pixels = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Member:
    """One network of an ensemble.

    wanted: position of its images among the ensemble's inputs. columns: positions of the ensemble's classes among this
    network's.
    """

    classifier: Classifier
    probabilities: ProbabilityFunction
    wanted: int
    columns: npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """One network or several, and the views of an image that they are given.

    Attributes:
        members: the networks.
        class_names: C names, in the order of the first network's outputs.
        inputs: how images are decoded for them, each once.
        tta: `none`, `flip` or `5crop`, see `augmented_views`.
    """

    members: list[Member]
    class_names: list[str]
    inputs: list[NetworkInput]
    tta: str = "none"

    @property
    def passes(self) -> int:
        """How many times a network runs for an image."""
        return len(self.members) * VIEWS[self.tta]

    def __call__(self, *images: Pixels) -> Probabilities:
        """Return the mean probabilities, float32 (B, C), of images, uint8 (B, S, S, 3) for each of `inputs`.

        One network on one view answers bit for bit as it does alone. Else the mean is computed in float64.
        """
        rows = [
            member.probabilities(view)[:, member.columns]
            for member in self.members
            for view in views(self.tta, images[member.wanted], member.classifier.image_size)
        ]
        return rows[0] if len(rows) == 1 else np.stack(rows).mean(axis=0, dtype=np.float64).astype(np.float32)


def load_classifiers(model: Any, backbone: BackboneConfig, outputs: Path, tracking_uri: str) -> list[Classifier]:
    """Return the networks of `model`: an id, a folder or a registered name, or a list of these.

    A cross-validation stands for the networks of all its folds. None: the published ImageNet network of `backbone`.

    Raises:
        UserError: there is no such network, the list is empty, or names a network twice.
    """
    if model is None:
        return [trained_classifier.load_classifier(None, backbone, outputs, tracking_uri)]
    entries = [str(entry) for entry in model] if isinstance(model, list) else [str(model)]
    if not entries:
        raise UserError("model=[] names no network: model=RUN, or model=[RUN1,RUN2] for the mean of several")
    found = [
        network for entry in entries for network in trained_classifier.find_saved_networks(entry, outputs, tracking_uri)
    ]
    files = [saved.weights_file.resolve() for saved, _ in found]
    if twice := [str(file) for file in dict.fromkeys(files) if files.count(file) > 1]:
        raise UserError(f"model={joined(entries)} names a network twice, {twice[0]}: leave one out")
    return [trained_classifier.load_trained(saved, settings) for saved, settings in found]


def combine(
    classifiers: Sequence[Classifier],
    functions: Sequence[ProbabilityFunction],
    *,
    tta: str = "none",
    bits: int | None = None,
) -> Ensemble:
    """Return the networks as one.

    Args:
        classifiers: at least one.
        functions: of each network's probabilities; where they are calibrated, each network by its own temperature,
            they are so before the mean.
        tta: `none`, `flip` or `5crop`.
        bits: as `dataset.bits`; None: that of each network's run.

    Raises:
        UserError: the networks have not all the same classes.
    """
    check_same_classes(classifiers)
    names = classifiers[0].class_names
    wanted = [NetworkInput(decoded_size(tta, one.image_size), bits or one.bits, one.resize) for one in classifiers]
    inputs = list(dict.fromkeys(wanted))
    members = [
        Member(
            one,
            function,
            inputs.index(its_input),
            _positions(names, one.class_names),
        )
        for one, function, its_input in zip(classifiers, functions, wanted, strict=True)
    ]
    return Ensemble(members, names, inputs, tta)


def _positions(names: Sequence[str], others: Sequence[str]) -> npt.NDArray[np.intp]:
    """Return where each of `names` is in `others`. ImageNet has two classes of one name: crane."""
    same = list(names) == list(others)
    return np.array(range(len(names)) if same else [list(others).index(name) for name in names], np.intp)


def check_same_classes(classifiers: Sequence[Classifier]) -> None:
    """Raise UserError unless the networks have the same classes, in whatever order."""
    for other in classifiers[1:]:
        _check_classes(classifiers[0].class_names, other.class_names)


def _check_classes(names: Sequence[str], others: Sequence[str]) -> None:
    missing, more = sorted(set(names) - set(others)), sorted(set(others) - set(names))
    if missing or more:
        parts = [f"without {_some(missing)}"] * bool(missing) + [f"with {_some(more)} besides"] * bool(more)
        raise UserError(
            f"the networks of model= have other classes: one has {len(others)}, {' and '.join(parts)}, and the first "
            f"has {len(names)}. Probabilities of the same classes only can be averaged"
        )


def _some(names: Sequence[str]) -> str:
    return joined(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
