"""Where the batches of a stage come from: cached activations, the engine, or the images themselves."""

import time
from functools import partial

from thaw.cache import CachedRows, CacheFull
from thaw.common.console import say
from thaw.data.dataset import Dataset
from thaw.data.image_batches import AugmentedView
from thaw.frozen.activations import (
    Activations,
    CachedBatches,
    FrozenPart,
    UncachedBatches,
    build_frozen_part,
    round_as_stored,
)
from thaw.frozen.batch_runner import BatchSequence
from thaw.models.network import Cut, Network, cut_at
from thaw.training.changed_batches import ChangedBatches
from thaw.training.stage_plans import PlannedStage, StageInputs, data_of_stage


class BatchSource:
    """Gives a stage its batches.

    cached: activations by split, one for each view. complete: all that the plan says is cached; not if the disk filled
    up. seconds: that caching took.
    """

    def __init__(self, planned: PlannedStage, cut: Cut, network: Network, data: Dataset, inputs: StageInputs) -> None:
        self._stage, self._data, self._inputs = planned.stage, data_of_stage(planned.stage, data), inputs
        self.cached: dict[str, list[Activations]] = {}
        self.complete, self.seconds = planned.cut.cached, 0.0
        self._frozen = _frozen_part(planned, cut, network, inputs)
        if self._frozen and planned.cut.cached:
            self._fill(self._frozen)

    def _fill(self, frozen: FrozenPart) -> None:
        """Read the activations of all images from the cache, computing what is missing.

        Those of test images too, though only the last stage predicts them: the engine is running anyway.
        """
        started = time.perf_counter()
        cache, pixels = self._inputs.cache, self._data.pixels
        try:
            for split, indices in self._data.splits.by_name().items():
                if views := self._views(split):
                    self.cached[split] = [frozen.cached_activations(cache, pixels, indices, view) for view in views]
        except CacheFull as error:  # the disk was filled since the plan was made
            self.complete = False
            say(f"  what cannot be kept is computed in every epoch: {error}")
        self.seconds = time.perf_counter() - started
        hits, misses = (sum(getattr(rows, name) for rows in self.rows()) for name in ("hits", "misses"))
        say(f"  activations: {hits:,} from the cache, {misses:,} computed in {self.seconds:.1f} s")

    def rows(self) -> list[CachedRows]:
        """Return the rows of the cache that the stage reads."""
        return [activations.rows for views in self.cached.values() for activations in views]

    def _views(self, split: str) -> list[AugmentedView | None]:
        return self._data.views(split, self._inputs.cached_views(self._stage))

    def batches(self, split: str, *, training: bool = False) -> BatchSequence:
        """Return the split's batches as `NetworkParts.trained` takes them; shuffled and changed in training."""
        batches, augment = self._unchanged_batches(split, training=training), self._data.augment
        if training and augment.changes_batches:
            return ChangedBatches(batches, augment, self._data.seed, self._stage.number)
        return batches

    def _unchanged_batches(self, split: str, *, training: bool) -> BatchSequence:
        options = self._inputs.train_config
        images = self._data.image_batches(
            split, options.batch_size, self._stage.number, training=training, sampling=options.sampling
        )
        if split in self.cached:
            return CachedBatches(images, self.cached[split])
        if self._frozen is None:
            return images
        # Rounded as what is cached: whether there is room for it must not change a number.
        function = round_as_stored(self._frozen.inference_function(), self._inputs.choice)
        return UncachedBatches(images, function, self._views(split))


def _frozen_part(planned: PlannedStage, cut: Cut, network: Network, inputs: StageInputs) -> FrozenPart | None:
    """Return the stage's frozen part behind those of the cuts that it is computed through; None if there is none."""
    if not cut.index:
        return None
    source: FrozenPart | None = None
    build = partial(
        build_frozen_part,
        network,
        network_cache=inputs.cache,
        calibration=inputs.calibration,
        workers=inputs.workers,
    )
    for earlier in planned.sources:
        source = build(
            cut_at(network, earlier.index), inputs.backbone, inputs.choice, source, stored_views=earlier.stored_views
        )
    return build(cut, inputs.backbone, inputs.choice, source)
