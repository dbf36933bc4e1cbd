"""The networks as Keras users build them: a builder of keras.applications and its own `preprocess_input`."""

from collections.abc import Callable
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
    """The network's own side of the input in pixels."""
    return APPLICATIONS[name][2] if name in APPLICATIONS else 224


def build(name: str, size: int, weights: str | None = None) -> tuple[Any, Callable[[Any], Any]]:
    """Return the network without its top, and what its images (RGB, 0-255) go through before it.

    Weights are those of the file, or random ones; efficientnet_lite0, which keras.applications does not have, is built
    by thaw and has its real ones.
    """
    import keras

    preprocess: Callable[[Any], Any]
    if name == "efficientnet_lite0":
        from thaw.models.efficientnet_lite import EfficientNetLite0

        model, preprocess = EfficientNetLite0(weights="imagenet", input_shape=(size, size, 3)), _lite
    else:
        module = getattr(keras.applications, APPLICATIONS[name][0])
        builder = getattr(module, APPLICATIONS[name][1])
        model, preprocess = builder(weights=None, include_top=False, input_shape=(size, size, 3)), _of(module)
    if weights:
        model.load_weights(weights)
    return model, preprocess


def _of(module: Any) -> Callable[[Any], Any]:
    return lambda images: module.preprocess_input(images)


def _lite(images: Any) -> Any:
    return (images - 127.0) / 128.0
