"""The backbone of the job before, taken over by a sweep's next one: building InceptionV3 takes longer than its head."""

import dataclasses
import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thaw.common import backend
from thaw.config.schema import BackboneConfig
from thaw.models import backbones
from thaw.models.backbones import Backbone
from thaw.models.weights_digest import weights_sha256


@dataclass(frozen=True)
class _Kept:
    asked: object
    backbone: Backbone
    sha256: str
    consumers: tuple[Any, ...]  # nodes behind the last layer, when it was new


_last: _Kept | None = None


def build_or_reuse(config: BackboneConfig, seed: int) -> tuple[Backbone, str]:
    """Return the backbone that `config` asks for, and the sha256 of its weights.

    It is the one of this process's last run if the same was asked for, with the same seed for what is random in it,
    and it has the same weights to the last bit: a run that trained it leaves nothing to the next. Call
    `backend.start_tensorflow` first. Keras is seeded again afterwards, as building draws random numbers and taking over
    does not: what is built next, such as the head, starts the same after both.
    """
    global _last
    asked = (dataclasses.astuple(config), seed, _identity(config.weights))
    if _last and _last.asked == asked and weights_sha256(_last.backbone.model) == _last.sha256:
        # The head that was joined to it goes, and frees its memory.
        _last.backbone.model.output._keras_history.operation._outbound_nodes[:] = _last.consumers
        gc.collect()
    else:
        _last = None
        gc.collect()  # two large networks at a time are one too many, and a network is a cycle of references
        built = backbones.build_backbone(config)
        consumers = tuple(built.model.output._keras_history.operation._outbound_nodes)
        _last = _Kept(asked, built, weights_sha256(built.model), consumers)
    backend.seed_keras(seed)
    return _last.backbone, _last.sha256


def _identity(weights: str) -> object:
    """What changes when a weights file is replaced by another of the same name."""
    file = Path(weights).expanduser()
    return (file.stat().st_size, file.stat().st_mtime_ns) if file.is_file() else None
