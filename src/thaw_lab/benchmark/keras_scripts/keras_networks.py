"""The networks as Keras users build them: a builder of keras.applications and its own `preprocess_input`.

python -m thaw_lab.benchmark.keras_scripts.keras_networks --network resnet50 --size 224 --file FILE.weights.h5

writes a network's random weights, so that several programs can start from the same ones.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

# name: (module of keras.applications, builder, side of the input in pixels)
APPLICATIONS = {
    "inceptionv3": ("inception_v3", "InceptionV3", 299),
    "vgg16": ("vgg16", "VGG16", 224),
    "resnet50": ("resnet", "ResNet50", 224),
    "mobilenetv2": ("mobilenet_v2", "MobileNetV2", 224),
}
NAMES = (*APPLICATIONS, "efficientnet_lite0")


def image_size(name: str) -> int:
    """Return the network's own side of the input in pixels."""
    return APPLICATIONS[name][2] if name in APPLICATIONS else 224


def build(name: str, size: int, weights: str | None = None) -> tuple[Any, Callable[[Any], Any]]:
    """Return the network without its top, and the preprocessing of its images (RGB, 0-255).

    Weights are those of the file, or random; efficientnet_lite0, which keras.applications does not have, is built by
    thaw and has its ImageNet weights.
    """
    import keras

    if name == "efficientnet_lite0":
        from thaw.models.efficientnet_lite import EfficientNetLite0

        model = EfficientNetLite0(weights="imagenet", input_shape=(size, size, 3))
        return model, lambda images: (images - 127.0) / 128.0
    module, builder, _ = APPLICATIONS[name]
    application = getattr(keras.applications, module)
    model = getattr(application, builder)(weights=None, include_top=False, input_shape=(size, size, 3))
    if weights:
        model.load_weights(weights)
    return model, application.preprocess_input


def main() -> None:
    """Write a network's random weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--file", required=True, help="to write; its name ends in .weights.h5")
    parser.add_argument("--json", required=True, help="file for what was measured: nothing")
    args = parser.parse_args()
    import keras

    keras.utils.set_random_seed(0)
    build(args.network, args.size)[0].save_weights(args.file)
    Path(args.json).write_text("{}")


if __name__ == "__main__":
    main()
