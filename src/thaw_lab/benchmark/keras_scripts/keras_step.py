"""Training steps of a network's last layers on activations in memory, as written by hand in Keras.

python -m thaw_lab.benchmark.keras_scripts.keras_step --network vgg16 --freeze block3_pool --policy float32
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

CLASSES = 10


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", required=True)
    parser.add_argument("--freeze", required=True, help="layers that stay frozen: so many, or through this one")
    parser.add_argument("--size", type=int, help="side of the input in pixels; default: the network's own")
    parser.add_argument("--policy", default="float32", choices=("float32", "mixed_bfloat16"), help="of all layers")
    parser.add_argument("--images", type=int, default=128, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=3, help="the first one, which compiles, is left out")
    parser.add_argument("--json", default="step.json", help="file for what was measured")
    return parser.parse_args(argv)


def main() -> None:
    """Train and write the speed."""
    args = parse_arguments()
    started = time.perf_counter()
    import keras
    import numpy as np

    from thaw_lab.benchmark.keras_scripts import keras_networks, keras_two_stages

    imported = time.perf_counter() - started
    keras.utils.set_random_seed(0)
    keras.mixed_precision.set_dtype_policy(args.policy)
    base, _ = keras_networks.build(args.network, args.size or keras_networks.image_size(args.network))
    frozen = keras_two_stages.frozen_layers(args.freeze, base)
    inputs = crossing_tensors(base, frozen)
    thawed = keras.Model(inputs, base.output)

    class Classifier(keras.Model):  # type: ignore[misc,unused-ignore]
        """BatchNorm keeps its statistics, as Keras's guide to fine-tuning advises; its gamma and beta train."""

        def __init__(self) -> None:
            super().__init__()
            self.thawed = thawed
            self.pool = keras.layers.GlobalAveragePooling2D()
            self.hidden = keras.layers.Dense(1024, activation="relu")
            self.predictions = keras.layers.Dense(CLASSES, activation="softmax", dtype="float32")

        def call(self, x: Any) -> Any:
            return self.predictions(self.hidden(self.pool(self.thawed(x, training=False))))

    model = Classifier()
    sgd = keras.optimizers.SGD(learning_rate=0.0001, momentum=0.9)
    model.compile(optimizer=sgd, loss="categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(0)
    x = [rng.random((args.images, *tensor.shape[1:]), np.float32) for tensor in inputs]
    y = np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, args.images)]
    seconds: list[float] = []

    def begin_epoch(epoch: int, logs: Any) -> None:
        seconds.append(time.perf_counter())

    def end_epoch(epoch: int, logs: Any) -> None:
        seconds[-1] = time.perf_counter() - seconds[-1]

    timer = keras.callbacks.LambdaCallback(on_epoch_begin=begin_epoch, on_epoch_end=end_epoch)
    model.fit(
        x if len(x) > 1 else x[0], y, batch_size=32, epochs=args.epochs, shuffle=False, verbose=0, callbacks=[timer]
    )
    speeds = [args.images / epoch for epoch in seconds]
    weights = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    report: dict[str, Any] = {"import_seconds": imported, "frozen_layers": frozen, "cut_tensors": len(inputs)}
    report |= {"trained_weights": weights, "epoch_images_per_second": speeds}
    Path(args.json).write_text(json.dumps({**report, "images_per_second": float(np.median(speeds[1:]))}))


def crossing_tensors(base: Any, frozen: int) -> list[Any]:
    """Return the outputs of `base.layers[:frozen]` that later layers take as inputs."""
    before = {layer.name for layer in base.layers[:frozen]}
    taken = {
        tensor._keras_history.operation.name
        for layer in base.layers[frozen:]
        for node in layer._inbound_nodes
        for tensor in node.input_tensors
    }
    return [layer.output for layer in base.layers[:frozen] if layer.name in before & taken]


if __name__ == "__main__":
    main()
