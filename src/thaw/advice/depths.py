"""The depths of a network that are compared, and the suggestion that their figures lead to. No TensorFlow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from thaw.models.layer_graph import LayerGraph

WHOLE = "all"  # `finetune.freeze` of a network that stays frozen
_LEAST = 0.001  # distance of an accuracy from 0 and 1, whose log odds are infinite
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
    """A network's depths, from the images to the head, and the epochs that stage thaw would have.

    imagenet: published top-1 accuracy of its weights; None where there is none.
    """

    backbone: str
    image_size: int
    depths: tuple[DepthFigures, ...]
    epochs: int
    imagenet: float | None = None

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
    """Return what to train within a time: the network by `transfer_scores`, the depth by what fits.

    Of networks whose features differ by less than a standard error, the one that trains faster is taken; where no
    accuracy is known, the first. It is thawed as deep as the time allows, but blocks with maps larger than an eighth of
    the image stay frozen: what they compute hardly differs between data sets (arXiv 1411.1792), and thawing them costs
    most.

    Args:
        networks: at least one.
        seconds: that training may take.
    """
    scores = transfer_scores(networks)
    best, highest = max(zip(networks, scores, strict=True), key=lambda pair: pair[1])
    level = _score_within_error(highest, best.features)
    equal = [network for network, score in zip(networks, scores, strict=True) if score >= level]
    if best.features.accuracy is None:
        chosen = networks[0]
    else:
        chosen = min(equal, key=lambda network: min(_stage_seconds(network).values(), default=math.inf))
    first = _why_this_network(chosen, networks, alone=len(equal) == 1)
    fitting = {depth: cost for depth, cost in _stage_seconds(chosen).items() if cost <= seconds}
    if not fitting:
        why = f"{first}, and thawing any part of it takes more than {seconds:.0f} s"
        return Suggestion(chosen.backbone, chosen.image_size, WHOLE, 0.0, why, chosen.epochs)
    depth = min(fitting, key=lambda depth: depth.boundary)
    why = f"{first}, and what lies behind {depth.block} is the most that can be thawed in {seconds:.0f} s"
    return Suggestion(chosen.backbone, chosen.image_size, depth.block, fitting[depth], why, chosen.epochs)


def transfer_scores(networks: Sequence[NetworkFigures]) -> list[float]:
    """Return how far each network is expected to get when it is thawed, of which only the order has a meaning.

    ImageNet counts where it is known of all networks: see `transfer_score`.
    """
    known = _counts_imagenet(networks)
    return [transfer_score(each.features.accuracy or 0.0, each.imagenet if known else None) for each in networks]


def transfer_score(features: float, imagenet: float | None) -> float:
    """Return the log odds of the accuracy of a network's frozen features, plus those of its accuracy on ImageNet.

    ImageNet tells what thawing gains (arXiv 1805.08974), and features do not: a small network's are nearly as good as
    a large one's while both are frozen.
    """
    return _log_odds(features) + (0.0 if imagenet is None else _log_odds(imagenet))


def _counts_imagenet(networks: Sequence[NetworkFigures]) -> bool:
    """Return whether the accuracy on ImageNet is known of all networks, and is not the same of all."""
    published = {network.imagenet for network in networks}
    return None not in published and len(published) > 1


def _log_odds(accuracy: float) -> float:
    kept = min(max(accuracy, _LEAST), 1 - _LEAST)
    return math.log(kept / (1 - kept))


def _score_within_error(score: float, features: DepthFigures) -> float:
    """Return the score that a network would have with features worse by their standard error."""
    accuracy = features.accuracy or 0.0
    return score - _log_odds(accuracy) + _log_odds(accuracy - features.standard_error)


def _why_this_network(chosen: NetworkFigures, networks: Sequence[NetworkFigures], *, alone: bool) -> str:
    """Return what speaks for a network, as the beginning of a sentence; alone: whether no other is as good."""
    name = chosen.backbone
    if sum(each.backbone == name for each in networks) > 1:
        name += f" at {chosen.image_size} px"
    if chosen.features.accuracy is None:
        return f"{name} (a class has too few images to judge features by)"
    accuracy = f"accuracy {chosen.features.accuracy:.3f} without thawing"
    if len(networks) == 1:
        return f"{name} ({accuracy})"
    if _counts_imagenet(networks):
        rank = "ranks first" if alone else "ranks as high as the first, and trains faster"
        return f"{name} {rank} ({accuracy}, {chosen.imagenet:.3f} on ImageNet)"
    rank = "has the best features" if alone else "has features as good as the best, and trains faster"
    return f"{name} {rank} ({accuracy})"


def _stage_seconds(network: NetworkFigures) -> dict[Depth, float]:
    """Return by depth what a stage of training takes, of the depths that may be suggested."""
    return {
        figures.depth: network.epochs * figures.epoch_seconds
        for figures in network.depths
        if figures.epoch_seconds is not None
    }
