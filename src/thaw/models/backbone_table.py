"""The table of backbones. A new backbone is one row here and one YAML file in conf/backbone."""

import re
from dataclasses import dataclass
from pathlib import Path

from thaw.common.errors import UserError, did_you_mean, joined
from thaw.config.registered_names import is_reference
from thaw.config.schema import BackboneConfig


@dataclass(frozen=True)
class BackboneSpec:
    """What thaw must know of a backbone beyond its code.

    Layer names tell blocks, by one of two patterns whose group 1 is the block's name: `block_start` matches layers of a
    block, which lasts until the next block's first layer; `block_end` matches the last layer of a block.
    """

    builder: str  # function of keras.applications, `efficientnet_lite` or `cnn_baseline`
    preprocess: str  # from RGB 0-255 to the inputs of the weights: a key of `PREPROCESSING_MODES`
    default_size: int  # side of the input, pixels
    min_size: int
    block_start: str | None = None
    block_end: str | None = None
    source: str = "keras.applications"  # or package: weights from a pip package; thaw: no published weights
    builder_arguments: tuple[str, ...] = ()  # keys of the config that the builder takes
    graph_depends_on_weights: bool = False  # Keras builds another graph for ImageNet weights than for random ones

    @property
    def depthwise(self) -> bool:
        """Whether it has depthwise convolutions, which decide on its default precision."""
        return not self.builder.startswith(("VGG", "ResNet", "Inception", "DenseNet", "baseline"))


WEIGHTS_SUFFIXES = (".h5", ".hdf5", ".keras")

_RESNET = r"^(conv\d_block\d+)_"
_EFFICIENTNET = r"^(block\d[a-z]|top)_"
_MIXED = r"^(mixed\d+)$"
_INCEPTION_RESNET = r"^(mixed_\d[ab]$|block\d+_\d+(?=_ac$)|conv_7b(?=_ac$))"
_NASNET = r"^((?:normal|reduction)_concat_\w+)$"
_CONVNEXT = r"^\w*?_((?:stage_\d_)?(?:downsampling_)?block_\d+)_"
_DENSENET = r"^(conv\d_block\d+|pool\d)_"
_MOBILENET_V2 = r"^(block_\d+|expanded_conv|Conv_1)(?:_|$)"
_MOBILENET_V3 = r"^(expanded_conv(?:_\d+)?|conv_1)(?:_[a-z]|$)"

BACKBONES: dict[str, BackboneSpec] = {
    "cnn": BackboneSpec("baseline_cnn", "unit", 32, 16, block_start=r"^(block\d)_", source="thaw"),
    **{
        f"efficientnet_lite{i}": BackboneSpec(
            f"EfficientNetLite{i}", "lite", size, 32, block_start=_EFFICIENTNET, source="package"
        )
        for i, size in enumerate((224, 240, 260))
    },
    "xception": BackboneSpec("Xception", "tf", 299, 71, block_start=r"^(block\d+)_"),
    "vgg16": BackboneSpec("VGG16", "caffe", 224, 32, block_start=r"^(block\d)_"),
    "vgg19": BackboneSpec("VGG19", "caffe", 224, 32, block_start=r"^(block\d)_"),
    "resnet50": BackboneSpec("ResNet50", "caffe", 224, 32, block_start=_RESNET),
    "resnet101": BackboneSpec("ResNet101", "caffe", 224, 32, block_start=_RESNET),
    "resnet152": BackboneSpec("ResNet152", "caffe", 224, 32, block_start=_RESNET),
    "resnet50v2": BackboneSpec("ResNet50V2", "tf", 224, 32, block_start=_RESNET),
    "resnet101v2": BackboneSpec("ResNet101V2", "tf", 224, 32, block_start=_RESNET),
    "resnet152v2": BackboneSpec("ResNet152V2", "tf", 224, 32, block_start=_RESNET),
    "inceptionv3": BackboneSpec("InceptionV3", "tf", 299, 75, block_end=_MIXED),
    "inceptionresnetv2": BackboneSpec("InceptionResNetV2", "tf", 299, 75, block_end=_INCEPTION_RESNET),
    "mobilenet": BackboneSpec(
        "MobileNet", "tf", 224, 32, block_end=r"^(conv_pw_\d+)_relu$", builder_arguments=("alpha", "depth_multiplier")
    ),
    "mobilenetv2": BackboneSpec("MobileNetV2", "tf", 224, 32, block_start=_MOBILENET_V2, builder_arguments=("alpha",)),
    **{
        f"mobilenetv3{size.lower()}": BackboneSpec(
            f"MobileNetV3{size}", "built-in", 224, 32, _MOBILENET_V3, builder_arguments=("alpha", "minimalistic")
        )
        for size in ("Small", "Large")
    },
    "densenet121": BackboneSpec("DenseNet121", "torch", 224, 32, block_start=_DENSENET),
    "densenet169": BackboneSpec("DenseNet169", "torch", 224, 32, block_start=_DENSENET),
    "densenet201": BackboneSpec("DenseNet201", "torch", 224, 32, block_start=_DENSENET),
    "nasnetmobile": BackboneSpec("NASNetMobile", "tf", 224, 32, block_end=_NASNET),
    "nasnetlarge": BackboneSpec("NASNetLarge", "tf", 331, 32, block_end=_NASNET),
    **{
        f"efficientnetb{i}": BackboneSpec(
            f"EfficientNetB{i}", "built-in", size, 32, block_start=_EFFICIENTNET, graph_depends_on_weights=True
        )
        for i, size in enumerate((224, 240, 260, 300, 380, 456, 528, 600))
    },
    **{
        f"efficientnetv2b{i}": BackboneSpec(f"EfficientNetV2B{i}", "built-in", size, 32, block_start=_EFFICIENTNET)
        for i, size in enumerate((224, 240, 260, 300))
    },
    "efficientnetv2s": BackboneSpec("EfficientNetV2S", "built-in", 384, 32, block_start=_EFFICIENTNET),
    "efficientnetv2m": BackboneSpec("EfficientNetV2M", "built-in", 480, 32, block_start=_EFFICIENTNET),
    "efficientnetv2l": BackboneSpec("EfficientNetV2L", "built-in", 480, 32, block_start=_EFFICIENTNET),
    **{
        f"convnext{size.lower()}": BackboneSpec(f"ConvNeXt{size}", "built-in", 224, 32, block_start=_CONVNEXT)
        for size in ("Tiny", "Small", "Base", "Large", "XLarge")
    },
}

# The width multipliers for which Keras publishes ImageNet weights.
_PUBLISHED_ALPHA = {
    "mobilenet": (0.25, 0.5, 0.75, 1.0),
    "mobilenetv2": (0.35, 0.5, 0.75, 1.0, 1.3, 1.4),
    "mobilenetv3small": (0.75, 1.0),
    "mobilenetv3large": (0.75, 1.0),
}


def backbone_spec(name: str) -> BackboneSpec:
    """Return a backbone's row of the table; raises UserError with the nearest name when there is none."""
    if name not in BACKBONES:
        raise UserError(
            f"backbone={name} is not a backbone.{did_you_mean(name, BACKBONES)} Choose one of: {joined(BACKBONES)}"
        )
    return BACKBONES[name]


def input_size(config: BackboneConfig) -> int:
    """Return the side of the network's square input in pixels, as configured or by default."""
    return config.image_size or backbone_spec(config.name).default_size


# How much small pictures are enlarged at most, and the smallest input that is chosen for them. CIFAR-10's 32 pixels
# become 160, which has half the pixels of 224.
_ENLARGED, _SMALLEST, _MULTIPLE = 5, 64, 32


def size_for_pictures(name: str, side: int | None) -> int:
    """Return the input's side for pictures with a shorter side of so many pixels: the backbone's own, or a smaller one.

    side: None where it is not known.

    Runs that are repeated count on this rule only where their stored config has no size: see `run_data`.
    """
    spec = backbone_spec(name)
    if side is None:
        return spec.default_size
    enlarged = -(-_ENLARGED * side // _MULTIPLE) * _MULTIPLE
    return min(max(enlarged, _SMALLEST, spec.min_size), spec.default_size)


def check_backbone(config: BackboneConfig) -> None:
    """Raise UserError for a size, argument or weights that this backbone cannot have. TensorFlow is not imported."""
    spec = backbone_spec(config.name)
    if input_size(config) < spec.min_size:
        raise UserError(
            f"backbone.image_size={input_size(config)} is below the smallest input of {config.name}, "
            f"{spec.min_size} pixels. Smaller pictures are enlarged: set backbone.image_size={spec.min_size} or more, "
            f"or leave it out for the default of {spec.default_size}"
        )
    for argument in ("alpha", "depth_multiplier", "minimalistic"):
        if getattr(config, argument) is not None and argument not in spec.builder_arguments:
            takes = [name for name, other in BACKBONES.items() if argument in other.builder_arguments]
            raise UserError(f"backbone.{argument} is not an argument of {config.name}; it belongs to {joined(takes)}")
    _check_weights(config.weights)
    if config.weights == "imagenet":
        _check_published(config, spec)


def _check_weights(weights: str) -> None:
    """Raise UserError unless the text is imagenet, none, a weights file that exists, or names a run."""
    file = Path(weights).expanduser()
    if weights in ("imagenet", "none") or re.fullmatch("[0-9a-f]{6,32}", weights) or (file / "run.json").is_file():
        return
    if is_reference(weights) and not file.is_file():
        return
    if not file.is_file():
        raise UserError(
            f"backbone.weights={weights} is neither imagenet, none, a weights file that exists, nor the id, folder "
            f"or registered name of a run.{did_you_mean(weights, ('imagenet', 'none'))} "
            f"Files end in {joined(WEIGHTS_SUFFIXES)}"
        )
    if file.suffix not in WEIGHTS_SUFFIXES:
        raise UserError(f"backbone.weights={weights}: weights files end in {joined(WEIGHTS_SUFFIXES)}")


def _check_published(config: BackboneConfig, spec: BackboneSpec) -> None:
    if spec.source == "thaw":
        raise UserError(f"{config.name} has no ImageNet weights: set backbone.weights=none")
    published = _PUBLISHED_ALPHA.get(config.name)
    if published and config.alpha is not None and config.alpha not in published:
        raise UserError(
            f"backbone.alpha={config.alpha}: ImageNet weights of {config.name} exist for {joined(published)}; "
            f"choose one of them or set backbone.weights=none"
        )
    if config.depth_multiplier not in (None, 1):
        raise UserError(
            f"backbone.depth_multiplier={config.depth_multiplier}: ImageNet weights of {config.name} exist for 1 only; "
            f"leave it out or set backbone.weights=none"
        )
    if config.minimalistic and config.alpha not in (None, 1.0):
        raise UserError("backbone.minimalistic=true: ImageNet weights exist for backbone.alpha=1.0 only")
