"""Finished runs with planted predictions, made without training or a store."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from thaw.compare.compared_run import ComparedRun, Cost, ManifestImage, Prediction, content_keys
from thaw.config.schema import Config, DatasetConfig, OptimizerConfig, SplitConfig
from thaw.tracking import StoredRun

CLASSES = ("cat", "dog", "fox")


def stored(run_id: str = "a" * 32, name: str = "run", status: str = "FINISHED", **tags: str) -> StoredRun:
    return StoredRun(run_id, name, status, {}, {k.replace("_", "."): v for k, v in tags.items()}, {}, "", "0", None)


def images(count: int, label: str = "cat", folder: str = "test", split: str = "test") -> list[ManifestImage]:
    """Images of one class whose content is their number."""
    return [ManifestImage(f"{folder}/{label}/{i:04}.jpg", f"{label}{i:04}", label, split) for i in range(count)]


def made_run(
    right: Sequence[bool] | None,
    *,
    run_id: str = "a" * 32,
    recipe: str = "finetune",
    rate: float = 1e-4,
    seed: int = 0,
    fold: int = 0,
    seconds: float | None = 60.0,
    test: Sequence[ManifestImage] | None = None,
    confidence: Sequence[float] | None = None,
    metrics: Mapping[str, float] | None = None,
    class_names: tuple[str, ...] = CLASSES,
    data_sha256: str = "d" * 64,
    config: Mapping[str, Any] | None = None,
    **changes: Any,
) -> ComparedRun:
    """A run that has these test images right, and says "dog" of the others; no predictions for None."""
    test = images(len(right or ())) if test is None else test
    keyed = content_keys(test)
    predictions = {}
    if right is not None:
        sure = confidence or [0.75] * len(right)
        for (key, image), ok, share in zip(keyed.items(), right, sure, strict=True):
            predictions[key] = Prediction(image.label if ok else "dog", share, share if ok else (1 - share) / 2)
    settings = Config(
        recipe=recipe,
        seed=seed,
        split=SplitConfig(folds=5, fold=fold),
        optimizer=OptimizerConfig(learning_rate=rate),
        dataset=DatasetConfig(name="image_folder", path="photos"),
        **(config or {}),
    )
    run = ComparedRun(
        stored(run_id, f"{recipe}-photos"),
        settings,
        class_names,
        data_sha256,
        metrics or {},
        Cost(seconds, 1000, 2.0, all_cached=False),
        keyed,
        100,
        frozenset(),
        predictions,
    )
    return dataclasses.replace(run, **changes)


def rights(text: str) -> list[bool]:
    """`11011` as a list: which images are right."""
    return [character == "1" for character in text]
