"""This machine's processor and GPUs, and the precisions that are fast on them."""

import importlib.util
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

# Instruction sets that change which kernels run, and so speed and the last bits of a result; by their Linux names.
_INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx512_fp16", "amx_bf16", "amx_fp16", "amx_int8")
_VNNI = {"avx512_vnni", "avx_vnni", "amx_int8"}  # of which one multiplies bytes several times as fast as float32
_HALF_PRECISION = re.compile("bf16|fp16|amx")
_NVIDIA_DRIVER = Path("/proc/driver/nvidia")  # files of NVIDIA's driver, on Linux


@dataclass(frozen=True)
class Hardware:
    """What this machine computes with.

    openvino: whether the package is installed. bfloat16, float16, int8: whether they are fast on this CPU.
    gpu_capabilities: compute capability of each GPU that TensorFlow sees. unused_gpus: names of those that it does not.
    gpu_visible: the driver has a GPU, and no variable hides it; known before TensorFlow is imported.
    """

    openvino: bool
    bfloat16: bool
    float16: bool
    gpu_capabilities: tuple[tuple[int, int], ...] = ()
    unused_gpus: tuple[str, ...] = ()
    int8: bool = False
    gpu_visible: bool = False

    def unused_gpu_note(self) -> str:
        """Return a note that a GPU is not used, with what to do; empty when there is none, or the CPU is meant."""
        if not self.unused_gpus or _gpus_hidden():
            return ""
        return (
            f"note: this machine has a GPU ({self.unused_gpus[0]}) that TensorFlow does not see, so the CPU computes. "
            "TensorFlow comes without CUDA's libraries: THAW_GPU=1 ./scripts/train installs them, or pip install "
            "'tensorflow[and-cuda]'. CUDA_VISIBLE_DEVICES=-1 says that the CPU is meant"
        )

    def fastest_precision(self, engine: str) -> str:
        """Return the precision with the highest throughput, that of tensor cores or AVX-512 where there are any."""
        if self.gpu_capabilities and engine == "tensorflow":
            lowest = min(self.gpu_capabilities)
            return "bfloat16" if lowest >= (8, 0) else "float16" if lowest >= (7, 0) else "float32"
        return "bfloat16" if self.bfloat16 else "float32"


def detect_hardware() -> Hardware:
    """Return what this machine computes with. Call `import_tensorflow` first."""
    import tensorflow as tf

    details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    gpus = tuple(detail.get("compute_capability", (0, 0)) for detail in details)
    return replace(detect_processor(), gpu_capabilities=gpus, unused_gpus=() if gpus else gpu_names())


def detect_processor() -> Hardware:
    """Return what can be seen without TensorFlow: all but the GPUs."""
    flags = set(instruction_sets())
    return Hardware(
        openvino=importlib.util.find_spec("openvino") is not None,
        bfloat16=bool(flags & {"avx512_bf16", "amx_bf16"}),
        float16=bool(flags & {"avx512_fp16", "amx_fp16"}),
        int8=bool(vnni_sets()),
        gpu_visible=bool(gpu_names()) and not _gpus_hidden(),
    )


def vnni_sets() -> tuple[str, ...]:
    """Return this processor's instruction sets for products of bytes (VNNI, AMX), by their Linux names."""
    return tuple(sorted(_VNNI & set(cpuinfo("flags").split())))


def _gpus_hidden() -> bool:
    """Whether the processor is meant although there is a GPU."""
    return os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")


def cpu_count() -> int:
    """Return how many logical CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpuinfo(key: str) -> str:
    """Return the first value of a key in /proc/cpuinfo; empty where there is none."""
    try:
        return _value(Path("/proc/cpuinfo").read_text(encoding="utf-8"), key)
    except OSError:
        return ""


def instruction_sets() -> tuple[str, ...]:
    """Return those of this processor's instruction sets that change results, by their Linux names; elsewhere none.

    Half precision is left out where oneDNN is limited to fewer instructions: it has no kernel for it then.
    """
    flags = set(cpuinfo("flags").split())
    limited = any(_excludes_half(os.environ.get(name, "")) for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"))
    return tuple(name for name in _INSTRUCTION_SETS if name in flags and not (limited and _HALF_PRECISION.search(name)))


def _excludes_half(limit: str) -> bool:
    """Whether a limit of oneDNN's (`AVX2`, `AVX512_CORE_VNNI`, `AVX512_CORE_BF16`, ...) excludes bfloat16."""
    return limit.upper() not in ("", "ALL", "DEFAULT") and not re.search("BF16|FP16|AMX|AVX10", limit.upper())


def gpu_names() -> tuple[str, ...]:
    """Return the names and drivers of NVIDIA's GPUs in this machine, whether TensorFlow sees them or not. Linux only.

    They come from the driver's own files, which cost nothing to read: `NVIDIA A100-SXM4-40GB, driver 550.54.15`.
    """
    try:
        version = _driver_version((_NVIDIA_DRIVER / "version").read_text(encoding="utf-8", errors="replace"))
        files = [gpu / "information" for gpu in sorted((_NVIDIA_DRIVER / "gpus").iterdir())]
        models = [_value(file.read_text(encoding="utf-8", errors="replace"), "Model") for file in files]
    except OSError:
        return ()
    return tuple(f"{model or 'unknown'}, driver {version}" for model in models)


def _driver_version(text: str) -> str:
    words = text.partition("Kernel Module")[2].replace("for x86_64", "").replace("for aarch64", "").split()
    return words[0] if words else "unknown"


def _value(text: str, key: str) -> str:
    """Return the first value of a key in lines `key: value`; empty when there is none."""
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == key), "")
