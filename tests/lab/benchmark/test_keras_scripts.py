"""The scripts by hand: their arguments, and that they know nothing of thaw."""

import ast
from pathlib import Path
from types import SimpleNamespace

from thaw_lab.benchmark import keras_scripts
from thaw_lab.benchmark.keras_scripts import keras_networks, keras_two_stages

FOLDER = Path(keras_scripts.__file__).parent


def test_the_script_is_that_of_the_tutorials_unless_told_otherwise() -> None:
    args = keras_two_stages.parse_arguments(["--photos", "photos"])
    assert (args.network, args.freeze, args.head_epochs, args.epochs) == ("inceptionv3", "172", 3, 3)
    assert args.weights is None
    args = keras_two_stages.parse_arguments(
        ["--photos", "p", "--weights", "w.weights.h5", "--freeze", "mixed8", "--epochs", "0"]
    )
    assert (args.weights, args.freeze, args.epochs) == ("w.weights.h5", "mixed8", 0)


def test_layers_are_frozen_by_number_or_through_a_name() -> None:
    base = SimpleNamespace(layers=[SimpleNamespace(name=name) for name in ("input", "conv", "bn")])
    assert keras_two_stages.frozen_layers("2", base) == 2
    assert keras_two_stages.frozen_layers("conv", base) == 2


def test_every_network_has_its_own_size() -> None:
    assert {name: keras_networks.image_size(name) for name in keras_networks.NAMES} == {
        "inceptionv3": 299, "vgg16": 224, "resnet50": 224, "mobilenetv2": 224, "efficientnet_lite0": 224,
    }  # fmt: skip


def test_scripts_by_hand_use_nothing_of_thaw_but_one_network() -> None:
    used = set()
    for file in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("thaw"):
                used.add(node.module)
    assert used == {"thaw_lab.benchmark.keras_scripts", "thaw.models.efficientnet_lite"}
