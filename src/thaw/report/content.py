"""What a report shows, as plain data: whoever makes one fills it in, `report_files` writes and draws it.

Everything that a caller does not know is left out: an evaluation has no history, a stock network no freeze plan. The
page then has no such section.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from thaw.analysis.figures import SplitFigures, Verdict


@dataclass(frozen=True, eq=False)
class GalleryImage:
    """A picture with what is said about it.

    jpeg: the picture, as a thumbnail of at most 192 pixels a side. overlay: the same with its Grad-CAM, None without.
    file: the image's name in the data set. true, predicted: class names; empty where they do not apply. probability: of
    `predicted`. note: one more line, such as the probability of the true class.
    """

    jpeg: bytes
    file: str
    true: str = ""
    predicted: str = ""
    probability: float | None = None
    note: str = ""
    overlay: bytes | None = None


@dataclass(frozen=True, eq=False)
class Gallery:
    """Pictures of one kind.

    key: its anchor in the page and name of files. meaning: one sentence. total: of all such images, of which the first
    are shown.
    """

    key: str
    title: str
    meaning: str
    images: Sequence[GalleryImage]
    total: int


@dataclass(frozen=True)
class BlockState:
    """A block of the backbone in one stage: frozen, thawed, or partly thawed; layers: their number in the block."""

    name: str
    state: str  # "frozen" | "thawed" | "partly thawed"
    layers: int
    params: int


@dataclass(frozen=True)
class StagePlan:
    """The freeze plan of one stage. cut: the block behind which the activations are kept, "" where nothing is cut.

    summary: the plan's own line, as the run printed it. left_out: the head alone was kept in place of what it trained.
    """

    stage: str
    blocks: Sequence[BlockState]
    cut: str
    summary: str
    left_out: bool = False


@dataclass(frozen=True)
class FeatureMap:
    """Features of images in two dimensions. key: name of files. explained: what the axes are, in one sentence.

    points: rows of `x, y, class, correct (bool), file`.
    """

    key: str
    title: str
    explained: str
    points: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class BestEpoch:
    """The epoch of the lowest validation loss.

    kept: whether the network has its weights, or those of the last one; None: neither, the stage was left out.
    """

    stage: str
    epoch: int
    val_loss: float
    val_accuracy: float
    kept: bool | None


@dataclass(frozen=True, eq=False)
class ReportContent:
    """Everything in a report.

    title, subtitle: headings in plain text. facts: name and value of what identifies it (run, data set, backbone,
    hashes, command). splits: the figures of each split; the first is the one of the verdict. history: one dict an
    epoch, as `FitResult`. val_loss_meaning: what the validation loss of the curves is. seconds: by step; cache: hits,
    misses, bytes. inputs: what the network sees. model_summary: text. remarks: sentences on what is left out and why.
    """

    title: str
    subtitle: str
    verdict: Verdict
    facts: Sequence[tuple[str, str]]
    splits: Sequence[SplitFigures]
    history: Sequence[Mapping[str, Any]] = ()
    best_epochs: Sequence[BestEpoch] = ()
    val_loss_meaning: str = ""
    plans: Sequence[StagePlan] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    cache: Mapping[str, int] = field(default_factory=dict)
    galleries: Sequence[Gallery] = ()
    explanations: Sequence[Gallery] = ()
    feature_maps: Sequence[FeatureMap] = ()
    inputs: Sequence[Gallery] = ()
    model_summary: str = ""
    remarks: Sequence[str] = ()
