"""The CIFAR-10 tutorials' small CNN from random weights, on arrays in memory.

python -m thaw_lab.benchmark.keras_scripts.keras_cnn --arrays FILE.npz
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any


def parse_arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arrays", required=True, help=".npz of images uint8 (N, 32, 32, 3) and labels int (N,)")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--json", default="cnn.json", help="file for what was measured")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> None:
    args = parse_arguments(given)
    started = time.perf_counter()
    import keras
    import numpy as np
    import tensorflow as tf

    imported = time.perf_counter() - started

    with np.load(args.arrays) as file:
        images, labels = file["images"].astype(np.float32) / 255, keras.utils.to_categorical(file["labels"])
    held = len(images) // 10  # for validation
    train = tf.data.Dataset.from_tensor_slices((images[held:], labels[held:]))
    train = train.shuffle(len(images) - held).batch(32).prefetch(tf.data.AUTOTUNE)
    val = tf.data.Dataset.from_tensor_slices((images[:held], labels[:held])).batch(32).prefetch(tf.data.AUTOTUNE)

    model = network(labels.shape[1])
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    epochs = timed_epochs()
    model.fit(train, validation_data=val, epochs=args.epochs, verbose=0, callbacks=[epochs])
    speeds = [(len(images) - held) / seconds for seconds in epochs.seconds]
    found = {"import_seconds": imported, "seconds": sum(epochs.seconds), "epoch_images_per_second": speeds}
    Path(args.json).write_text(json.dumps({**found, "images_per_second": float(np.median(speeds[1:]))}))


def network(classes: int) -> Any:
    """Two blocks of two convolutions, Dense 512, dropout."""
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.25),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(512, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(classes, activation="softmax"),
        ]
    )


def timed_epochs() -> Any:
    """A callback that knows the seconds of each epoch's training."""
    import keras

    class Epochs(keras.callbacks.Callback):
        """Seconds of each epoch's training, validation left out."""

        seconds: list[float]

        def on_train_begin(self, logs: Any = None) -> None:
            self.seconds = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.started = time.perf_counter()
            self.seconds.append(0.0)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.seconds[-1] = time.perf_counter() - self.started

    return Epochs()


if __name__ == "__main__":
    main()
