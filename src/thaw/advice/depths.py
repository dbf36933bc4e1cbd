"""The depths of a network that are compared, and the suggestion that their figures lead to. No TensorFlow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from thaw.models.layer_graph import LayerGraph

WHOLE = "all"  # `finetune.freeze` of a network that stays frozen
_REDUCTION = 8  # maps larger than the image's side divided by this stay frozen


@dataclass(frozen=True)
class Depth:
    """A boundary behind the blocks whose maps have one size.

    block: the last frozen block, as `finetune.freeze` takes it; "all" behind the last layer. boundary: `layers[:N]`
    stay frozen. shape: of the activations there, without the batch.
    """

    block: str
    boundary: int
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class DepthFigures:
    """What was found out about a depth.

    accuracy: cross-validated, of logistic regression on the mean activations of training images; None where a class has
    too few. standard_error: of the accuracy. nbytes: of all images' activations in the cache. epoch_seconds: of
    training what lies behind, with the activations cached; None where that may not be suggested.
    """

    depth: Depth
    accuracy: float | None
    standard_error: float
    nbytes: int
    epoch_seconds: float | None


@dataclass(frozen=True)
class NetworkFigures:
    """A network's depths, from the images to the head, and the epochs that stage thaw would have."""

    backbone: str
    image_size: int
    depths: tuple[DepthFigures, ...]
    epochs: int

    @property
    def features(self) -> DepthFigures:
        """The figures behind the whole network."""
        return self.depths[-1]


@dataclass(frozen=True)
class Suggestion:
    """What to train: a network, the boundary from which it is thawed, and the seconds that its training takes.

    freeze: as `finetune.freeze`; "all" for a frozen network with a head. why: in one sentence. epochs: that stage thaw
    has with this network where none are given.
    """

    backbone: str
    image_size: int
    freeze: str
    seconds: float
    why: str
    epochs: int


def candidate_depths(graph: LayerGraph) -> list[Depth]:
    """Return the last block of each size of maps, and at last the whole network.

    One block more or less of the same size makes little difference, and each that is compared takes seconds.
    """
    depths: list[Depth] = []
    for block in graph.blocks:
        shape = graph.layers[block.last_layer].shape
        if depths and depths[-1].shape[:2] == shape[:2]:
            depths.pop()
        depths.append(Depth(block.name, block.last_layer + 1, shape))
    whole = Depth(WHOLE, len(graph.layers), graph.layers[-1].shape)
    if depths and depths[-1].shape[:2] == whole.shape[:2]:
        depths.pop()
    return [*depths, whole]


def may_be_thawed_behind(depth: Depth, image_size: int) -> bool:
    """Return whether a network may be thawed behind a depth: not behind the last layer, nor where maps are large."""
    return depth.block != WHOLE and (depth.shape[0] or 0) <= -(-image_size // _REDUCTION)


def suggest(networks: Sequence[NetworkFigures], seconds: float) -> Suggestion:
    """Return what to train within a time: the network by the accuracy of its features, the depth by what fits.

    Of networks whose accuracies differ by less than a standard error, the one that trains faster is taken; where no
    accuracy is known, the first. It is thawed as deep as the time allows, but blocks with maps larger than an eighth of
    the image stay frozen: what they compute hardly differs between data sets (arXiv 1411.1792), and thawing them costs
    most.

    Args:
        networks: at least one.
        seconds: that training may take.
    """
    best = max(networks, key=_accuracy)
    level = _accuracy(best) - best.features.standard_error
    equal = [network for network in networks if _accuracy(network) >= level]
    if best.features.accuracy is None:
        chosen = networks[0]
    else:
        chosen = min(equal, key=lambda network: min(_stage_seconds(network).values(), default=math.inf))
    first = chosen.backbone
    if sum(each.backbone == first for each in networks) > 1:
        first += f" at {chosen.image_size} px"
    if chosen.features.accuracy is None:
        first += " (a class has too few images to judge features by)"
    else:
        if len(networks) > 1:
            faster = " has features as good as the best, and trains faster"
            first += " has the best features" if len(equal) == 1 else faster
        first += f" (accuracy {chosen.features.accuracy:.3f} without thawing)"
    fitting = {depth: cost for depth, cost in _stage_seconds(chosen).items() if cost <= seconds}
    if not fitting:
        why = f"{first}, and thawing any part of it takes more than {seconds:.0f} s"
        return Suggestion(chosen.backbone, chosen.image_size, WHOLE, 0.0, why, chosen.epochs)
    depth = min(fitting, key=lambda depth: depth.boundary)
    why = f"{first}, and what lies behind {depth.block} is the most that can be thawed in {seconds:.0f} s"
    return Suggestion(chosen.backbone, chosen.image_size, depth.block, fitting[depth], why, chosen.epochs)


def _accuracy(network: NetworkFigures) -> float:
    return network.features.accuracy or 0.0


def _stage_seconds(network: NetworkFigures) -> dict[Depth, float]:
    """Return by depth what a stage of training takes, of the depths that may be suggested."""
    return {
        figures.depth: network.epochs * figures.epoch_seconds
        for figures in network.depths
        if figures.epoch_seconds is not None
    }
