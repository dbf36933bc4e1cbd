"""Pooled features with Keras's `predict`: of images in memory, or of a folder of photos.

python -m thaw_lab.benchmark.keras_scripts.keras_features --network resnet50 --images 256
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any


def argument_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", required=True)
    parser.add_argument("--size", type=int, help="side of the input in pixels; default: the network's own")
    parser.add_argument("--images", type=int, default=256, help="random images in memory")
    parser.add_argument("--photos", help="folder of class folders, instead of images in memory")
    parser.add_argument("--json", default="features.json", help="file for what was measured")
    return parser


def main() -> None:
    """Compute the features and write the speed."""
    args = argument_parser().parse_args()
    started = time.perf_counter()
    import keras
    import numpy as np
    import tensorflow as tf

    from thaw_lab.benchmark.keras_scripts import keras_networks

    imported = time.perf_counter() - started

    size = args.size or keras_networks.image_size(args.network)
    base, preprocess_input = keras_networks.build(args.network, size)
    model = keras.Model(base.input, keras.layers.GlobalAveragePooling2D()(base.output))

    def photos() -> Any:
        read = keras.utils.image_dataset_from_directory
        dataset = read(args.photos, image_size=(size, size), batch_size=32, shuffle=False)
        dataset = dataset.map(lambda x, y: preprocess_input(x), num_parallel_calls=tf.data.AUTOTUNE)
        return dataset.prefetch(tf.data.AUTOTUNE)

    # The first batch traces the graph, and is not timed.
    if args.photos:
        model.predict(photos().take(1), verbose=0)
        started = time.perf_counter()
        features = model.predict(photos(), verbose=0)
    else:
        images = np.random.default_rng(0).integers(0, 256, (args.images, size, size, 3), np.uint8)
        model.predict(preprocess_input(images[:32].astype(np.float32)), verbose=0)
        started = time.perf_counter()
        features = model.predict(preprocess_input(images.astype(np.float32)), batch_size=32, verbose=0)
    seconds = time.perf_counter() - started

    report = {"import_seconds": imported, "images": len(features), "seconds": seconds}
    Path(args.json).write_text(json.dumps({**report, "images_per_second": len(features) / seconds}))


if __name__ == "__main__":
    main()
