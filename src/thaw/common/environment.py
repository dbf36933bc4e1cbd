"""Environment variables that numerical libraries read: refused where they would make the config untrue, or recorded."""

import os
import sys
from collections.abc import Mapping

from thaw.common import hardware
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
    "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK",  # which scikit-learn sets when it is imported, in the middle of a run
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

_ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
# Instruction sets, by their Linux names, with one of which TensorFlow turns oneDNN on by itself (tsl/util/port.h).
_ONEDNN_BY_ITSELF = {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"}
_chooses_onednn = True


def check_variables() -> None:
    """Raise UserError for an environment variable that would make the config, or what is recorded of it, untrue."""
    for name, why in _REFUSED.items():
        value = os.environ.get(name, "")
        if value.lower() not in _STRICT:
            raise UserError(f"the environment variable {name}={value} is refused: {why}, and unset {name}")


def onednn_setting() -> dict[str, str]:
    """Return the variable that `import_tensorflow` sets so that TensorFlow computes with oneDNN; mostly none.

    TensorFlow leaves it off on x86-64 processors without AVX-512 VNNI or newer. A thawed step of EfficientNet-Lite0 at
    128 px, from block3b on, then trains 24 images a second instead of 68 (AMD EPYC with AVX2, 2 cores). A value that
    is set stands, and TensorFlow reads it once, when it is imported.
    """
    flags = set(hardware.cpuinfo("flags").split())
    left_off = "avx2" in flags and not flags & _ONEDNN_BY_ITSELF
    if left_off and _chooses_onednn and _ONEDNN not in os.environ and "tensorflow" not in sys.modules:
        return {_ONEDNN: "1"}
    return {}


def compute_as_recorded(entries: Mapping[str, str]) -> None:
    """Leave oneDNN to TensorFlow, as a run of these entries of a fingerprint did; for one that goes on or is repeated.

    Runs of earlier versions left it so. No effect once TensorFlow is imported: the difference is printed then.
    """
    global _chooses_onednn
    if entries and f"env.{_ONEDNN}" not in entries:
        _chooses_onednn = False


def numerical_variables() -> dict[str, str]:
    """Return the environment variables that numerical libraries read, by name, with what thaw sets of them.

    Those without effect are left out, and all that may be a secret: the values go to the store and into the cache.
    """
    return {
        name: value
        for name, value in sorted({**os.environ, **onednn_setting()}.items())
        if name.startswith(_PREFIXES)
        and not name.startswith(_WITHOUT_EFFECT)
        and not any(word in name.upper() for word in _SECRET)
    }


def kernel_settings(threads: bool) -> dict[str, str]:
    """Return what decides which kernels a CPU computes with, and so the last bits: variables and instruction sets.

    Args:
        threads: whether TensorFlow computes: it splits its work by the number of threads. OpenVINO's results do not
            depend on it: they were the same to the last bit on 1 and 2 cores, in float32 and bfloat16.
    """
    settings = {**numerical_variables(), "instructions": " ".join(hardware.instruction_sets())}
    if threads:
        return {**settings, "cpus": str(hardware.cpu_count())}
    settings.pop(_ONEDNN, None)  # TensorFlow's alone
    return {name: value for name, value in settings.items() if not any(part in name for part in _THREADS)}
