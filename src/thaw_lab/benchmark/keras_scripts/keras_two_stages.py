"""The two-stage script of the tutorials in today's Keras: train a new head, then the network's last layers with it.

python -m thaw_lab.benchmark.keras_scripts.keras_two_stages --photos FOLDER --freeze 172

FOLDER holds train/ and test/ with a folder a class in each. Weights are random unless --weights gives a file.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--network", default="inceptionv3")
    parser.add_argument("--weights", help="file of the network's weights without its top (.weights.h5)")
    parser.add_argument("--size", type=int, help="side of the input in pixels; default: the network's own")
    parser.add_argument("--freeze", default="172", help="layers that stay frozen: so many, or through this one")
    parser.add_argument("--head-epochs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3, help="of the second stage; 0: there is none")
    parser.add_argument("--validation", type=float, default=0.1, help="share split off train/")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", default="two_stages.json", help="file for what was measured")
    return parser.parse_args(argv)


def main() -> None:
    """Train both stages and write seconds and accuracies."""
    args = parse_arguments()
    started = time.perf_counter()
    import keras

    from thaw_lab.benchmark.keras_scripts import keras_networks

    imported = time.perf_counter() - started
    started = time.perf_counter()
    keras.utils.set_random_seed(args.seed)
    size = args.size or keras_networks.image_size(args.network)
    base, preprocess_input = keras_networks.build(args.network, size, args.weights)
    train, val, test = load_photos(args, size, preprocess_input)

    x = keras.layers.GlobalAveragePooling2D()(base.output)
    x = keras.layers.Dense(1024, activation="relu")(x)
    predictions = keras.layers.Dense(train.element_spec[1].shape[-1], activation="softmax")(x)
    model = keras.Model(base.input, predictions)

    # Train only the new layers.
    for layer in base.layers:
        layer.trainable = False
    model.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
    history = [model.fit(train, validation_data=val, epochs=args.head_epochs, verbose=2).history]
    frozen = len(base.layers)

    # Then the last layers too, with a low learning rate.
    if args.epochs:
        frozen = frozen_layers(args.freeze, base)
        for layer in model.layers[:frozen]:
            layer.trainable = False
        for layer in model.layers[frozen:]:
            layer.trainable = True
        sgd = keras.optimizers.SGD(learning_rate=0.0001, momentum=0.9)
        model.compile(optimizer=sgd, loss="categorical_crossentropy", metrics=["accuracy"])
        history += [model.fit(train, validation_data=val, epochs=args.epochs, verbose=2).history]

    test_accuracy = model.evaluate(test, verbose=0)[1]
    seconds, val_accuracy = time.perf_counter() - started, history[-1]["val_accuracy"][-1]
    report = {"import_seconds": imported, "seconds": seconds, "frozen_layers": frozen, "val_accuracy": val_accuracy}
    Path(args.json).write_text(json.dumps({**report, "test_accuracy": test_accuracy, "history": history}))


def load_photos(args: argparse.Namespace, size: int, preprocess_input: Any) -> list[Any]:
    """Return the images for training, validation and test, in batches of 32."""
    import keras
    import tensorflow as tf

    read = keras.utils.image_dataset_from_directory
    common = {"label_mode": "categorical", "image_size": (size, size), "batch_size": 32}
    train, val = read(f"{args.photos}/train", validation_split=args.validation, subset="both", seed=args.seed, **common)
    test = read(f"{args.photos}/test", shuffle=False, **common)
    return [
        split.map(lambda x, y: (preprocess_input(x), y), num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
        for split in (train, val, test)
    ]


def frozen_layers(freeze: str, base: Any) -> int:
    """Return how many layers stay frozen: the number itself, or through the layer of that name."""
    return int(freeze) if freeze.isdecimal() else [layer.name for layer in base.layers].index(freeze) + 1


if __name__ == "__main__":
    main()
