"""Which engine and precision are chosen."""

import importlib.metadata
import itertools

import pytest

from thaw.common.errors import UserError
from thaw.common.hardware import Hardware
from thaw.frozen import engine
from thaw.frozen.engine import EngineChoice, choose_engine

PLAIN = Hardware(openvino=True, bfloat16=False, float16=False)
BF16 = Hardware(openvino=True, bfloat16=True, float16=False)
FP16 = Hardware(openvino=True, bfloat16=True, float16=True)
BARE = Hardware(openvino=False, bfloat16=True, float16=False)  # no openvino
PASCAL = Hardware(openvino=True, bfloat16=True, float16=False, gpu_capabilities=((6, 1),))
TURING = Hardware(openvino=True, bfloat16=True, float16=False, gpu_capabilities=((7, 5),))
AMPERE = Hardware(openvino=True, bfloat16=False, float16=False, gpu_capabilities=((8, 0),))
VNNI = Hardware(openvino=True, bfloat16=True, float16=False, int8=True)
VNNI_GPU = Hardware(openvino=True, bfloat16=True, float16=False, gpu_capabilities=((8, 0),), int8=True)
MIXED = Hardware(openvino=True, bfloat16=True, float16=False, gpu_capabilities=((8, 0), (7, 5)))

# What was asked for: engine, precision, frozen_precision.
AUTO = ("auto", "auto", "auto")
TF = ("tensorflow", "auto", "auto")


def chosen(asked: tuple[str, str, str], hardware: Hardware, *, depthwise: bool = False, thaws: bool = True) -> tuple:
    choice = choose_engine(*asked, depthwise=depthwise, trains_backbone=thaws, hardware=hardware)
    assert choice.version == importlib.metadata.version(choice.engine)
    return choice.engine, choice.frozen, choice.trained


@pytest.mark.parametrize(
    ("asked", "hardware", "options", "expected"),
    [
        # CPUs: OpenVINO, in bfloat16 where the processor has it.
        (AUTO, BF16, {}, ("openvino", "bfloat16", "bfloat16")),
        (AUTO, PLAIN, {}, ("openvino", "float32", "float32")),
        (AUTO, FP16, {}, ("openvino", "bfloat16", "bfloat16")),
        # Depthwise networks train slower in bfloat16 on CPUs, and its 8 bits are too few for their activations.
        (AUTO, BF16, {"depthwise": True}, ("openvino", "float32", "float32")),
        # A head alone gains nothing.
        (AUTO, BF16, {"thaws": False}, ("openvino", "bfloat16", "float32")),
        # Without OpenVINO, or with TensorFlow asked for.
        (AUTO, BARE, {}, ("tensorflow", "bfloat16", "bfloat16")),
        (AUTO, BARE, {"depthwise": True}, ("tensorflow", "float32", "float32")),
        (TF, BF16, {}, ("tensorflow", "bfloat16", "bfloat16")),
        (TF, BF16, {"depthwise": True}, ("tensorflow", "float32", "float32")),
        (TF, PLAIN, {}, ("tensorflow", "float32", "float32")),
        # GPUs: TensorFlow, in what their tensor cores do; the weakest one decides.
        (AUTO, AMPERE, {}, ("tensorflow", "bfloat16", "bfloat16")),
        (AUTO, AMPERE, {"depthwise": True}, ("tensorflow", "float32", "float32")),
        (AUTO, AMPERE, {"thaws": False}, ("tensorflow", "bfloat16", "float32")),
        (AUTO, TURING, {}, ("tensorflow", "float16", "float16")),
        (AUTO, TURING, {"depthwise": True}, ("tensorflow", "float16", "float16")),
        (AUTO, MIXED, {}, ("tensorflow", "float16", "float16")),
        (AUTO, PASCAL, {}, ("tensorflow", "float32", "float32")),
        # What is asked for is what is done.
        (("auto", "float32", "auto"), BF16, {}, ("openvino", "float32", "float32")),
        (("auto", "bfloat16", "auto"), PLAIN, {"depthwise": True}, ("openvino", "bfloat16", "bfloat16")),
        (("auto", "bfloat16", "auto"), BF16, {"thaws": False}, ("openvino", "bfloat16", "bfloat16")),
        (("tensorflow", "bfloat16", "auto"), BARE, {"depthwise": True}, ("tensorflow", "bfloat16", "bfloat16")),
        (("auto", "float32", "auto"), TURING, {}, ("tensorflow", "float32", "float32")),
        # What is frozen alone in another precision.
        (("auto", "auto", "float32"), BF16, {}, ("openvino", "float32", "bfloat16")),
        (("auto", "float32", "bfloat16"), BF16, {}, ("openvino", "bfloat16", "float32")),
        (("auto", "auto", "bfloat16"), PLAIN, {}, ("openvino", "bfloat16", "float32")),
        # float16 where OpenVINO cannot: TensorFlow does it, unless OpenVINO was asked for (below).
        (("auto", "float16", "auto"), BF16, {}, ("tensorflow", "float16", "float16")),
        (("auto", "float16", "auto"), FP16, {}, ("openvino", "float16", "float16")),
        (("openvino", "float16", "auto"), FP16, {}, ("openvino", "float16", "float16")),
    ],
)
def test_what_the_machine_does_fast_is_chosen_unless_asked_otherwise(
    asked: tuple, hardware: Hardware, options: dict, expected: tuple
) -> None:
    assert chosen(asked, hardware, **options) == expected


@pytest.mark.parametrize("precisions", [("float16", "auto"), ("auto", "float16"), ("float32", "float16")])
def test_float16_on_a_processor_without_it_is_refused_with_what_to_do(precisions: tuple[str, str]) -> None:
    with pytest.raises(
        UserError, match=r"does not compute in float16.*bfloat16, float32 or auto, or engine=tensorflow"
    ):
        chosen(("openvino", *precisions), BF16)


def test_openvino_that_is_not_installed_is_refused_with_what_to_do() -> None:
    with pytest.raises(UserError, match=r"engine=openvino: .*not installed.*engine=auto"):
        chosen(("openvino", "auto", "auto"), BARE)


@pytest.mark.parametrize("gpus", [((6, 1),), ((7, 5),), ((8, 0),)])
def test_openvino_beside_a_gpu_computes_in_what_the_processor_does_fast(gpus: tuple) -> None:
    """It runs on the CPU whatever the GPU can do."""
    for cpu, frozen in ((PLAIN, "float32"), (BF16, "bfloat16")):
        hardware = Hardware(openvino=True, bfloat16=cpu.bfloat16, float16=False, gpu_capabilities=gpus)
        assert chosen(("openvino", "auto", "auto"), hardware)[:2] == ("openvino", frozen)


@pytest.mark.parametrize("hardware", [PLAIN, BF16, BARE, PASCAL, TURING, AMPERE, MIXED])
def test_openvino_is_never_given_float16_on_a_processor_without_it(hardware: Hardware) -> None:
    """It would compute in bfloat16 and not say so; it also judges what was trained, in its precision."""
    kinds = ("auto", "float32", "bfloat16", "float16")
    for asked in itertools.product(("auto", "openvino", "tensorflow"), kinds, kinds):
        for depthwise, thaws in itertools.product((False, True), repeat=2):
            try:
                engine, *precisions = chosen(asked, hardware, depthwise=depthwise, thaws=thaws)
            except UserError:
                continue
            assert engine == "tensorflow" or "float16" not in precisions, asked


@pytest.mark.parametrize(
    ("asked", "hardware", "options", "expected"),
    [
        # draft: int8 where the processor is fast in it, else what is fastest, depthwise or not; training as with auto.
        (("auto", "draft", "auto"), VNNI, {}, ("openvino", "int8", "bfloat16")),
        (("auto", "draft", "auto"), VNNI, {"depthwise": True}, ("openvino", "int8", "float32")),
        (("auto", "draft", "auto"), BF16, {"depthwise": True}, ("openvino", "bfloat16", "float32")),
        (("auto", "draft", "auto"), PLAIN, {}, ("openvino", "float32", "float32")),
        (("tensorflow", "draft", "auto"), VNNI, {}, ("tensorflow", "bfloat16", "bfloat16")),
        (("auto", "draft", "auto"), VNNI_GPU, {}, ("tensorflow", "bfloat16", "bfloat16")),
        (("openvino", "draft", "auto"), VNNI_GPU, {}, ("openvino", "int8", "bfloat16")),
        # int8 asked for, on a processor that is slow in it too.
        (("auto", "auto", "int8"), VNNI, {}, ("openvino", "int8", "bfloat16")),
        (("openvino", "float32", "int8"), PLAIN, {"depthwise": True}, ("openvino", "int8", "float32")),
        (("openvino", "auto", "int8"), VNNI_GPU, {}, ("openvino", "int8", "bfloat16")),
    ],
)
def test_frozen_layers_are_in_int8_when_asked_for_and_in_drafts_where_it_is_fast(
    asked: tuple, hardware: Hardware, options: dict, expected: tuple
) -> None:
    assert chosen(asked, hardware, **options) == expected
    choice = choose_engine(*asked, depthwise=False, trains_backbone=False, hardware=hardware)
    assert choice.draft == (asked[1] == "draft") == ("draft" in choice.summary())


def test_a_draft_without_nncf_is_computed_in_the_fastest_precision_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "nncf_installed", lambda: False)
    assert chosen(("auto", "draft", "auto"), VNNI, depthwise=True) == ("openvino", "bfloat16", "float32")


@pytest.mark.parametrize(
    ("name", "hardware", "nncf", "message"),
    [
        ("tensorflow", VNNI, True, r"int8 is computed by OpenVINO: set engine=openvino.*leave frozen_precision out"),
        ("auto", BARE, True, r"int8 needs the package openvino.*Install it, or leave"),
        ("auto", VNNI_GPU, True, r"has a GPU.*set engine=openvino"),
        ("auto", Hardware(True, True, False, int8=True, gpu_visible=True), True, r"has a GPU.*set engine=openvino"),
        ("auto", VNNI, False, r"int8 needs the package nncf.*pip install '\.\[int8\]'"),
        ("openvino", VNNI_GPU, False, r"int8 needs the package nncf.*pip install '\.\[int8\]'"),
    ],
)
def test_int8_that_nothing_here_computes_is_refused_with_what_to_do(
    name: str, hardware: Hardware, nncf: bool, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "nncf_installed", lambda: nncf)
    with pytest.raises(UserError, match=message):
        engine.check_engine(name, "auto", "int8", hardware)


def test_the_choice_is_said_in_one_line() -> None:
    line = EngineChoice("openvino", "2026.4", "bfloat16", "float32").summary()
    assert line == "OpenVINO 2026.4 in bfloat16 for what is frozen · training in float32"
