"""What the machine and the user's environment bring into a computation, besides the config: read, refused, recorded."""

import os
import re
from pathlib import Path

from thaw.common.errors import UserError

# Variables that TensorFlow, Keras, OpenVINO, their kernels and their thread pools read begin so.
_PREFIXES = (
    "TF_", "KERAS_", "XLA_", "ONEDNN_", "DNNL_", "MKL_", "OMP_", "GOMP_", "KMP_", "OPENBLAS_", "BLIS_", "OV_",
    "OPENVINO_", "TBB_", "CUDA_", "CUDNN_", "CUBLAS_", "NVIDIA_", "HIP_", "ROCM_",
)  # fmt: skip
# Of them, what thaw sets itself, what only logs, places of files, and Terraform's, which begin with TF_ too.
_WITHOUT_EFFECT = (
    "KERAS_BACKEND", "KERAS_HOME", "KERAS_NNX_ENABLED", "TF_USE_LEGACY_KERAS", "TF_VAR_", "TF_TOKEN_", "TF_CLI_",
    "TF_DATA_DIR", "TF_WORKSPACE", "TF_IN_AUTOMATION", "TF_INPUT", "TF_REGISTRY_", "TF_PLUGIN_", "TF_CLOUD_",
    "TF_REATTACH_", "TF_ENCRYPTION", "TF_IGNORE", "TF_APPEND_", "TF_ACC", "TF_STATE", "TF_CPP_",
    "TF_FORCE_GPU_ALLOW_GROWTH", "TF_DUMP_", "TF_SQLITE_", "TF_GRPC_", "TF_LOG", "TF_PROFILE", "XLA_PYTHON_CLIENT",
    "OV_VISUALIZE_", "OPENVINO_LOG_LEVEL", "CUDA_CACHE_", "CUDA_HOME", "CUDA_PATH", "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_REQUIRE_",
)  # fmt: skip
# Whatever is called so may be a secret, and a fingerprint is read by others.
_SECRET = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "KEY", "CREDENTIAL", "AUTH")
# Of the rest, what sets how many threads compute and where, and not which kernels.
_THREADS = ("THREAD", "PROC_BIND", "PLACES", "AFFINITY", "BLOCKTIME", "CUDA_VISIBLE_DEVICES")

_STRICT = ("", "0", "false", "off", "strict", "no")
_PRECISION = "computations would not have the precision that is asked for and recorded. Set precision= instead"
_LENGTH = "training would end before its epochs do. Set the recipe's epochs= instead"
# What would make the config or a recorded precision untrue. oneDNN's take effect on Arm, where float32 products are
# then computed in bfloat16; no difference was found on x86-64.
_REFUSED = {
    "KERAS_MAX_EPOCHS": _LENGTH,
    "KERAS_MAX_STEPS_PER_EPOCH": _LENGTH,
    "NVIDIA_TF32_OVERRIDE": _PRECISION,
    "ONEDNN_DEFAULT_FPMATH_MODE": _PRECISION,
    "DNNL_DEFAULT_FPMATH_MODE": _PRECISION,
    "TF_SET_ONEDNN_FPMATH_MODE": _PRECISION,
}
# Instruction sets that change which kernels run, and so speed and the last bits of a result; by their Linux names.
_INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx512_fp16", "amx_bf16", "amx_fp16", "amx_int8")
_HALF = re.compile("bf16|fp16|amx")
_DRIVER = Path("/proc/driver/nvidia")  # files of NVIDIA's driver, on Linux


def check_variables() -> None:
    """Raise UserError for an environment variable that would make the config, or what is recorded of it, untrue."""
    for name, why in _REFUSED.items():
        value = os.environ.get(name, "")
        if value.lower() not in _STRICT:
            raise UserError(f"the environment variable {name}={value} is refused: {why}, and unset {name}")


def numerical_variables() -> dict[str, str]:
    """Return the environment variables that numerical libraries read, by name.

    Those without effect are left out, and all that may be a secret: the values go to the store and into the cache.
    """
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(_PREFIXES)
        and not name.startswith(_WITHOUT_EFFECT)
        and not any(word in name.upper() for word in _SECRET)
    }


def kernel_settings(threads: bool) -> dict[str, str]:
    """Return what decides which kernels a CPU computes with, and so the last bits: settings and instruction sets.

    threads: the number of threads counts too, as how TensorFlow cuts up its work depends on it. OpenVINO's results do
    not: they were the same to the last bit on 1 and 2 cores, in float32 and bfloat16.
    """
    found = {
        name: value
        for name, value in numerical_variables().items()
        if threads or not any(part in name for part in _THREADS)
    }
    return {**found, "instructions": " ".join(instruction_sets()), **({"cpus": str(cpu_count())} if threads else {})}


def cpu_count() -> int:
    """Return how many logical CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def instruction_sets() -> tuple[str, ...]:
    """Return those of this processor's instruction sets that change results, by their Linux names; elsewhere none.

    Half precision is left out where oneDNN is held to fewer instructions: it would have no kernel for it.
    """
    flags = set(cpuinfo("flags").split())
    held = any(_without_half(os.environ.get(name, "")) for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"))
    return tuple(name for name in _INSTRUCTION_SETS if name in flags and not (held and _HALF.search(name)))


def _without_half(limit: str) -> bool:
    """Whether a limit of oneDNN's (`AVX2`, `AVX512_CORE_VNNI`, `AVX512_CORE_BF16`, ...) excludes bfloat16."""
    return limit.upper() not in ("", "ALL", "DEFAULT") and not re.search("BF16|FP16|AMX|AVX10", limit.upper())


def cpuinfo(key: str) -> str:
    """Return the first value of a key in /proc/cpuinfo; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")


def gpu_names() -> tuple[str, ...]:
    """Return the names and drivers of NVIDIA's GPUs in this machine, whether TensorFlow sees them or not. Linux only.

    From the driver's own files, which cost nothing to read: `NVIDIA A100-SXM4-40GB, driver 550.54.15`.
    """
    try:
        version = _after((_DRIVER / "version").read_text(encoding="utf-8", errors="replace"), "Kernel Module")
        models = [
            _value((gpu / "information").read_text(encoding="utf-8", errors="replace"), "Model")
            for gpu in sorted((_DRIVER / "gpus").iterdir())
        ]
    except OSError:
        return ()
    return tuple(f"{model}, driver {version}" for model in models)


def _after(text: str, word: str) -> str:
    words = text.partition(word)[2].replace("for x86_64", "").replace("for aarch64", "").split()
    return words[0] if words else "unknown"


def _value(text: str, key: str) -> str:
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == key), "unknown")
