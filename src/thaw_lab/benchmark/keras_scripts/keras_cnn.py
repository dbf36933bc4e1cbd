"""The CIFAR-10 tutorials' small CNN from random weights, on arrays in memory.

python -m thaw_lab.benchmark.keras_scripts.keras_cnn --arrays FILE.npz
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Train the CNN and write its speed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arrays", required=True, help=".npz of images uint8 (N, 32, 32, 3) and labels int (N,)")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--json", default="cnn.json", help="file for what was measured")
    args = parser.parse_args()
    started = time.perf_counter()
    import keras
    import numpy as np
    import tensorflow as tf

    imported = time.perf_counter() - started

    with np.load(args.arrays) as file:
        images, labels = file["images"].astype(np.float32) / 255, keras.utils.to_categorical(file["labels"])
    held = len(images) // 10  # out of training, for validation
    train = tf.data.Dataset.from_tensor_slices((images[held:], labels[held:]))
    train = train.shuffle(len(images) - held).batch(32).prefetch(tf.data.AUTOTUNE)
    val = tf.data.Dataset.from_tensor_slices((images[:held], labels[:held])).batch(32).prefetch(tf.data.AUTOTUNE)

    seconds: list[float] = []  # of each epoch's training, validation left out
    begins: list[float] = []

    def begin_epoch(epoch: int, logs: Any) -> None:
        begins.append(time.perf_counter())
        seconds.append(0.0)

    def end_batch(batch: int, logs: Any) -> None:
        seconds[-1] = time.perf_counter() - begins[-1]

    timer = keras.callbacks.LambdaCallback(on_epoch_begin=begin_epoch, on_train_batch_end=end_batch)
    model = network(labels.shape[1])
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    model.fit(train, validation_data=val, epochs=args.epochs, verbose=0, callbacks=[timer])
    speeds = [(len(images) - held) / epoch for epoch in seconds]
    report = {"import_seconds": imported, "seconds": sum(seconds), "epoch_images_per_second": speeds}
    Path(args.json).write_text(json.dumps({**report, "images_per_second": float(np.median(speeds[1:]))}))


def network(classes: int) -> Any:
    """Return two blocks of two convolutions, Dense 512, dropout."""
    import keras
    from keras import layers

    return keras.Sequential([
        keras.Input((32, 32, 3)),
        layers.Conv2D(32, 3, padding="same", activation="relu"), layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(2), layers.Dropout(0.25),
        layers.Conv2D(64, 3, padding="same", activation="relu"), layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(2), layers.Dropout(0.25),
        layers.Flatten(), layers.Dense(512, activation="relu"), layers.Dropout(0.5),
        layers.Dense(classes, activation="softmax"),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
