"""Training steps of a network's thawed part on activations in memory, by `run_stage` of this checkout or another.

python -m thaw_lab.benchmark.thaw_scripts.thaw_step --thaw CHECKOUT --network vgg16 --freeze block3
"""

import argparse
import inspect
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

# Nothing of thaw is imported before the checkout is known.
from thaw_lab.benchmark import arithmetic

BATCH_SIZE = 32
CLASSES = 10


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--thaw", required=True, help="the checkout whose thaw is measured")
    parser.add_argument("--network", required=True)
    parser.add_argument("--freeze", required=True, help="as finetune.freeze")
    parser.add_argument("--size", type=int, help="side of the input in pixels; default: the network's own")
    parser.add_argument("--precision", default="auto", help="as precision")
    parser.add_argument("--training-step", default="auto", help="as training_step, if the checkout has it")
    parser.add_argument("--images", type=int, default=128, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=3, help="the first one, which compiles, is left out")
    parser.add_argument("--json", default="step.json", help="file for what was measured")
    return parser.parse_args(argv)


def main() -> None:
    """Train and write the speed."""
    args = parse_arguments()
    sys.path.insert(0, str(Path(args.thaw) / "src"))
    started = time.perf_counter()
    import numpy as np

    import thaw
    from thaw.common import tensorflow_setup

    if not Path(thaw.__file__).is_relative_to(Path(args.thaw).resolve()):
        raise SystemExit(f"{args.thaw} was to be measured, and {thaw.__file__} was imported")
    tensorflow_setup.start_tensorflow(0, True)
    report: dict[str, Any] = {"import_seconds": time.perf_counter() - started, "thaw": str(Path(thaw.__file__).parent)}
    network, plan, choice = _network(args)
    history, trained_weights = _train(network, plan, choice, args)
    speeds = [epoch["images_per_second"] for epoch in history]
    graph = network.backbone.graph
    head_macs = sum(
        layer.count_params() for layer in network.model.layers if layer.name in ("head_hidden", "predictions")
    )
    report |= {
        "precision": choice.trained, "depthwise": getattr(choice, "trained_depthwise", ""),
        "training_step": getattr(choice, "training_step", "keras"),
        "frozen_layers": plan.boundary, "cut_tensors": len(plan.cut_names),
        "trained_weights": trained_weights,
        "gflop": arithmetic.step_gflop(graph, plan.boundary, plan.boundary, head_macs),
        "epoch_images_per_second": speeds, "images_per_second": float(np.median(speeds[1:])),
    }  # fmt: skip
    Path(args.json).write_text(json.dumps(report))


def _network(args: argparse.Namespace) -> tuple[Any, Any, Any]:
    """Return a network with its freeze plan, and the precision that `auto` chooses.

    Weights are random, but for EfficientNet-Lite0, which has its ImageNet weights as the script by hand does: gradients
    fade to denormal numbers in it otherwise, and oneDNN's 5x5 depthwise kernels take seven times as long on those.
    """
    from thaw.common.hardware import detect_hardware
    from thaw.config.schema import BackboneConfig, HeadConfig
    from thaw.frozen import engine
    from thaw.models import backbone_table, backbones, freeze
    from thaw.models.network import attach_head

    weights = "imagenet" if args.network.startswith("efficientnet_lite") else "none"
    backbone = backbones.build_backbone(BackboneConfig(name=args.network, weights=weights, image_size=args.size))
    network = attach_head(backbone, HeadConfig(), tuple(f"class {i}" for i in range(CLASSES)))
    plan = freeze.make_plan(args.freeze, backbone.graph, args.network, "frozen")
    depthwise = backbone_table.backbone_spec(args.network).depthwise
    options: dict[str, Any] = {"depthwise": depthwise, "trains_backbone": True, "hardware": detect_hardware()}
    if "training_step" in inspect.signature(engine.choose_engine).parameters:  # checkouts before it have one way only
        options["training_step"] = args.training_step
    return network, plan, engine.choose_engine("auto", args.precision, "auto", **options)


def _train(network: Any, plan: Any, choice: Any, args: argparse.Namespace) -> tuple[list[dict[str, Any]], int]:
    """Run the stage as train.py does, but for its batches, which are random activations, and its checkpoints."""
    from thaw.config.schema import CheckpointConfig, HeadConfig, OptimizerConfig, TrainConfig
    from thaw.models.network import cut_at
    from thaw.training import stages
    from thaw.training.checkpoint_callback import StageCheckpointer
    from thaw.training.recipes import TrainingStage

    class NoCheckpoints(StageCheckpointer):
        """Writes nothing."""

        def due_mid_epoch(self) -> bool:
            return False

        def due_at_epoch_end(self) -> bool:
            return False

        def save(self, *_: Any) -> None:
            return None

    batches = RandomBatches(cut_at(network, plan.boundary).shapes, choice.frozen, args.images // BATCH_SIZE)
    source: Any = SimpleNamespace(
        batches=lambda split, training=False: batches if training else batches.first(), rows=list, seconds=0.0,
        complete=True, cached={},
    )  # fmt: skip
    optimizer = OptimizerConfig(name="sgd", learning_rate=1e-4, momentum=0.9)
    stage = TrainingStage(0, "step", plan.request, "frozen", args.epochs, 0, optimizer)
    planned: Any = SimpleNamespace(stage=stage, plan=plan, cut=SimpleNamespace(index=plan.boundary, cached=True))
    inputs: Any = SimpleNamespace(choice=choice, train_config=TrainConfig(), head=HeadConfig(), views=0, cache=None)
    images = range(len(batches) * BATCH_SIZE)
    data: Any = SimpleNamespace(splits=SimpleNamespace(train=images), seed=0, class_weight=lambda _: None)
    directory: Any = None
    history: list[dict[str, Any]] = []
    with mock.patch.object(stages, "BatchSource", return_value=source):
        result = stages.run_stage(
            planned, network, data, inputs, checkpointer=NoCheckpoints(directory, CheckpointConfig(), 0, []),
            predict_splits=(), on_start=lambda _: None, on_epoch=history.append,
        )  # fmt: skip
    return history, result.trainable_params


class RandomBatches:
    """Batches of random activations and labels, made once; rounded as thaw caches them, float32 as it reads them."""

    def __init__(self, shapes: tuple[tuple[int, ...], ...], precision: str, count: int) -> None:
        import numpy as np

        from thaw.frozen.activation_rows import STORAGE_DTYPES

        rng = np.random.default_rng(0)
        self._batches = []
        for _ in range(count):
            tensors = tuple(rng.random((BATCH_SIZE, *shape), np.float32) for shape in shapes)
            rounded = tuple(tensor.astype(STORAGE_DTYPES[precision]).astype(np.float32) for tensor in tensors)
            targets = np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, BATCH_SIZE)]
            self._batches.append((rounded, targets))

    def first(self) -> "RandomBatches":
        """Return the first batch alone, for validation."""
        alone = RandomBatches.__new__(RandomBatches)
        alone._batches = self._batches[:1]
        return alone

    def __len__(self) -> int:
        return len(self._batches)

    def rows(self, epoch: int, i: int) -> Any:
        """Return the catalog indices of a batch."""
        import numpy as np

        return np.arange(i * BATCH_SIZE, (i + 1) * BATCH_SIZE)

    def batch(self, epoch: int, i: int) -> Any:
        """Return the activations and targets of a batch."""
        return self._batches[i]


if __name__ == "__main__":
    main()
