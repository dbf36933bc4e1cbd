"""What is read of the processor and the GPUs, and what follows from it. No TensorFlow."""

import pytest

from thaw.common import hardware
from thaw.common.errors import UserError
from thaw.common.hardware import Hardware
from thaw.frozen import engine


@pytest.mark.parametrize(("limit", "half"), [("AVX2", False), ("AVX512_CORE_VNNI", False), ("AVX512_CORE_AMX", True)])
def test_half_precision_is_not_chosen_where_onednn_is_held_to_fewer_instructions(monkeypatch, limit, half) -> None:
    monkeypatch.setattr(hardware, "cpuinfo", lambda key: "avx2 avx512f avx512_bf16 amx_bf16")
    assert "avx512_bf16" in hardware.instruction_sets()
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", limit)
    assert ("avx512_bf16" in hardware.instruction_sets()) == half
    assert "avx2" in hardware.instruction_sets()


@pytest.mark.parametrize(
    ("precision", "frozen", "deterministic", "allowed"),
    [
        ("auto", "auto", False, True),
        ("bfloat16", "auto", False, True),
        ("auto", "auto", True, False),
        ("float32", "auto", False, False),
        ("auto", "float32", False, False),
    ],
)
def test_tensorfloat_32_is_allowed_on_a_gpu_only_where_neither_float32_nor_the_same_bits_are_asked_for(
    precision, frozen, deterministic, allowed
) -> None:
    def choice(machine: Hardware) -> engine.EngineChoice:
        return engine.choose_engine(
            "tensorflow",
            precision,
            frozen,
            depthwise=True,
            trains_backbone=True,
            hardware=machine,
            deterministic=deterministic,
        )

    a100 = Hardware(openvino=True, bfloat16=True, float16=False, gpu_capabilities=((8, 0),))
    assert (choice(a100).device, choice(a100).tf32) == ("gpu", allowed)
    cpu = Hardware(openvino=True, bfloat16=True, float16=False)
    assert (choice(cpu).device, choice(cpu).tf32) == ("cpu", False)


@pytest.mark.parametrize(
    ("asked", "gpus", "depthwise", "trains", "step", "trained", "evaluated"),
    [
        ("auto", (), True, True, "folded", "bfloat16", "float32"),
        ("auto", (), False, True, "folded", "bfloat16", "bfloat16"),
        ("keras", (), True, True, "keras", "float32", "float32"),
        ("keras", (), False, True, "keras", "bfloat16", "bfloat16"),
        ("auto", (), True, False, "keras", "float32", "float32"),
        ("auto", ((8, 0),), True, True, "keras", "float32", "float32"),
    ],
)
def test_the_training_step_is_folded_on_cpus_and_depthwise_convolutions_are_float32_in_it(
    asked, gpus, depthwise, trains, step, trained, evaluated
) -> None:
    machine = Hardware(openvino=True, bfloat16=True, float16=False, gpu_capabilities=gpus)
    choice = engine.choose_engine(
        "auto", "auto", "auto", depthwise=depthwise, trains_backbone=trains, hardware=machine, training_step=asked
    )
    assert (choice.training_step, choice.trained, choice.evaluated) == (step, trained, evaluated)
    assert choice.frozen == ("float32" if depthwise else "bfloat16")
    assert ("depthwise in float32" in choice.summary()) == (step == "folded" and depthwise)


def test_a_folded_training_step_is_refused_on_a_gpu() -> None:
    machine = Hardware(openvino=True, bfloat16=True, float16=False, gpu_capabilities=((8, 0),))
    with pytest.raises(UserError, match="training_step=folded is for CPUs"):
        engine.choose_engine(
            "auto", "auto", "auto", depthwise=True, trains_backbone=True, hardware=machine, training_step="folded"
        )


def test_a_gpu_that_tensorflow_does_not_see_is_told_with_what_to_install(monkeypatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    unseen = Hardware(openvino=True, bfloat16=True, float16=False, unused_gpus=("NVIDIA A100, driver 550.54",))
    assert "GPU (NVIDIA A100, driver 550.54) that TensorFlow does not see" in unseen.unused_gpu_note()
    assert "THAW_GPU=1 ./scripts/train" in unseen.unused_gpu_note()
    assert Hardware(openvino=True, bfloat16=True, float16=False).unused_gpu_note() == ""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")  # the CPU is meant
    assert unseen.unused_gpu_note() == ""


def test_gpus_and_their_driver_are_read_from_the_drivers_own_files(tmp_path, monkeypatch) -> None:
    driver = tmp_path / "nvidia"
    (driver / "gpus" / "0000:01:00.0").mkdir(parents=True)
    (driver / "gpus" / "0000:01:00.0" / "information").write_text("Model: \t\t NVIDIA GeForce RTX 4090\nIRQ: 1\n")
    (driver / "version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version: 12\n"
    )
    monkeypatch.setattr(hardware, "_NVIDIA_DRIVER", driver)
    assert hardware.gpu_names() == ("NVIDIA GeForce RTX 4090, driver 550.54.15",)
    (driver / "version").write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.1  Release Build\n")
    assert hardware.gpu_names() == ("NVIDIA GeForce RTX 4090, driver 570.1",)
    monkeypatch.setattr(hardware, "_NVIDIA_DRIVER", tmp_path / "nothing")
    assert hardware.gpu_names() == ()
