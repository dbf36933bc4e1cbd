"""The machine in results and captions."""

from pathlib import Path

from thaw_lab import machine

TARGET = {
    "cpu": "a processor", "cpus": 2, "cpu_flags": ["amx_bf16"], "platform": "Linux", "python": "3.11", "settings": {},
    "packages": {"keras": "3.15.1"}, "commit": "0123456789abcdef", "dirty": False, "memory_gb": 8.0, "amx": True,
}  # fmt: skip


def test_a_machine_is_described_by_the_names_that_stored_results_have() -> None:
    hardware = machine.describe_machine(Path(__file__).parents[2])
    assert set(hardware) == set(TARGET)
    assert hardware["packages"]["keras"] in machine.version_line(hardware)


def test_the_caption_names_the_hardware() -> None:
    assert machine.machine_caption(TARGET) == "2 cores of a processor, AMX, 8.0 GB."
    other = machine.machine_caption(TARGET | {"amx": False, "cpu_flags": ["avx512_bf16"]})
    assert "no AMX (AVX-512 bf16)" in other
