"""The accuracy on ImageNet that the publishers of a backbone's weights state. No TensorFlow."""

from thaw.config.schema import BackboneConfig

# Top-1 accuracy on ImageNet's validation images, at each network's own input size: the table of
# https://keras.io/api/applications, and for EfficientNet-Lite that of
# https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
_TOP_1 = {
    "efficientnet_lite0": 0.751, "efficientnet_lite1": 0.767, "efficientnet_lite2": 0.776,
    "xception": 0.790, "vgg16": 0.713, "vgg19": 0.713,
    "resnet50": 0.749, "resnet101": 0.764, "resnet152": 0.766,
    "resnet50v2": 0.760, "resnet101v2": 0.772, "resnet152v2": 0.780,
    "inceptionv3": 0.779, "inceptionresnetv2": 0.803,
    "densenet121": 0.750, "densenet169": 0.762, "densenet201": 0.773,
    "nasnetmobile": 0.744, "nasnetlarge": 0.825,
    "efficientnetb0": 0.771, "efficientnetb1": 0.791, "efficientnetb2": 0.801, "efficientnetb3": 0.816,
    "efficientnetb4": 0.829, "efficientnetb5": 0.836, "efficientnetb6": 0.840, "efficientnetb7": 0.843,
    "efficientnetv2b0": 0.787, "efficientnetv2b1": 0.798, "efficientnetv2b2": 0.805, "efficientnetv2b3": 0.820,
    "efficientnetv2s": 0.839, "efficientnetv2m": 0.853, "efficientnetv2l": 0.857,
    "convnexttiny": 0.813, "convnextsmall": 0.823, "convnextbase": 0.853, "convnextlarge": 0.863,
    "convnextxlarge": 0.867,
}  # fmt: skip

# The MobileNets, by width: arXiv 1704.04861, the table of Keras's MobileNetV2 (from TensorFlow's slim), and that of
# Keras's MobileNetV3.
_BY_WIDTH = {
    "mobilenet": {0.25: 0.506, 0.5: 0.637, 0.75: 0.684, 1.0: 0.704},
    "mobilenetv2": {0.35: 0.603, 0.5: 0.654, 0.75: 0.698, 1.0: 0.713, 1.3: 0.744, 1.4: 0.750},
    "mobilenetv3small": {0.75: 0.654, 1.0: 0.681},
    "mobilenetv3large": {0.75: 0.733, 1.0: 0.756},
}
_MINIMALISTIC = {"mobilenetv3small": 0.619, "mobilenetv3large": 0.723}


def imagenet_accuracy(backbone: BackboneConfig) -> float | None:
    """Return the top-1 accuracy on ImageNet, 0 to 1, that is published of the weights a config asks for.

    None where nothing is published: weights from a file or an earlier run, and random ones.
    """
    if backbone.weights != "imagenet":
        return None
    if backbone.minimalistic:
        return _MINIMALISTIC.get(backbone.name)
    widths = _BY_WIDTH.get(backbone.name)
    return widths.get(backbone.alpha or 1.0) if widths else _TOP_1.get(backbone.name)
