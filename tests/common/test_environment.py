"""What comes from outside the config is set, refused by name or recorded. No TensorFlow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from thaw.common import environment, hardware
from thaw.common.errors import UserError
from thaw.tracking.fingerprint import collect_fingerprint, fingerprint_differences

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KERAS_MAX_EPOCHS", "1"),
        ("KERAS_MAX_STEPS_PER_EPOCH", "2"),
        ("NVIDIA_TF32_OVERRIDE", "1"),
        ("ONEDNN_DEFAULT_FPMATH_MODE", "BF16"),
        ("DNNL_DEFAULT_FPMATH_MODE", "any"),
    ],
)
def test_a_variable_that_would_make_the_config_untrue_is_refused_by_name(monkeypatch, name, value) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"{name}={value} is refused: .*unset {name}"):
        environment.check_variables()
    monkeypatch.setenv(name, "0")
    environment.check_variables()


def test_such_a_variable_ends_a_run_before_its_data_is_read(commands) -> None:
    commands.env["KERAS_MAX_EPOCHS"] = "1"
    try:
        ran = commands.run("dataset=digits")
    finally:
        del commands.env["KERAS_MAX_EPOCHS"]
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: the environment variable KERAS_MAX_EPOCHS=1 is refused")
    assert ran.err.count("\n") == 1


AVX2, VNNI = "fma avx2", "fma avx2 avx512f avx512_vnni"


@pytest.mark.parametrize(
    ("flags", "variable", "imported", "recorded", "setting"),
    [
        pytest.param(AVX2, None, False, {}, "1", id="TensorFlow leaves it off"),
        pytest.param(VNNI, None, False, {}, None, id="TensorFlow turns it on"),
        pytest.param("", None, False, {}, None, id="not an x86-64 processor"),
        pytest.param(AVX2, "0", False, {}, "0", id="a user's setting stands"),
        pytest.param(AVX2, None, True, {}, None, id="TensorFlow has read it"),
        pytest.param(AVX2, None, False, {"python": "3.11"}, None, id="a run of before goes on"),
        pytest.param(AVX2, None, False, {"env.TF_ENABLE_ONEDNN_OPTS": "1"}, "1", id="a run of today goes on"),
    ],
)
def test_training_uses_onednn_where_tensorflow_leaves_it_off(
    monkeypatch, flags: str, variable: str | None, imported: bool, recorded: dict[str, str], setting: str | None
) -> None:
    """Another kernel is another result, so the fingerprint says so before TensorFlow is imported, and after."""
    monkeypatch.setattr(hardware, "cpuinfo", lambda key: flags)
    monkeypatch.setattr(environment, "_chooses_onednn", True)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    if variable:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", variable)
    if imported:
        monkeypatch.setitem(sys.modules, "tensorflow", object())
    environment.compute_as_recorded(recorded)
    assert environment.numerical_variables().get("TF_ENABLE_ONEDNN_OPTS") == setting
    assert environment.onednn_setting() == ({"TF_ENABLE_ONEDNN_OPTS": "1"} if setting == "1" else {})
    assert ("TF_ENABLE_ONEDNN_OPTS" in environment.kernel_settings(threads=True)) == (setting is not None)
    assert "TF_ENABLE_ONEDNN_OPTS" not in environment.kernel_settings(threads=False)  # OpenVINO does not read it


@pytest.mark.parametrize("name", ["TF_NEW_OPTION", "ONEDNN_MAX_CPU_ISA", "OV_CPU_MAX_ISA", "KMP_AFFINITY", "XLA_FLAGS"])
def test_every_variable_that_numerical_libraries_read_is_in_the_fingerprint(monkeypatch, name: str) -> None:
    before = collect_fingerprint(ROOT).entries()
    monkeypatch.setenv(name, "something")
    after = collect_fingerprint(ROOT).entries()
    assert after == {**before, f"env.{name}": "something"}
    assert [difference.key for difference in fingerprint_differences(before, after)] == [f"env.{name}"]


@pytest.mark.parametrize(
    "name",
    [
        "TF_CPP_MIN_LOG_LEVEL",
        "KERAS_BACKEND",
        "KERAS_HOME",
        "CUDA_HOME",
        "THAW_OUTPUTS",
        "KMP_DUPLICATE_LIB_OK",
        "KMP_INIT_AT_FORK",
    ],
)
def test_what_thaw_sets_itself_and_what_changes_no_number_is_not(monkeypatch, name: str) -> None:
    before = collect_fingerprint(ROOT).entries()
    monkeypatch.setenv(name, "something")
    assert collect_fingerprint(ROOT).entries() == before


@pytest.mark.parametrize(
    "name", ["TF_VAR_db_password", "TF_TOKEN_app_terraform_io", "TF_CLI_CONFIG_FILE", "NVIDIA_API_KEY", "TF_MY_TOKEN"]
)
def test_other_programs_variables_and_secrets_are_written_nowhere(monkeypatch, name: str) -> None:
    """Terraform's begin with TF_ too; the fingerprint is in the store, the kernels in the cache's space.json."""
    monkeypatch.delenv(name, raising=False)
    before = collect_fingerprint(ROOT).entries(), environment.kernel_settings(threads=True)
    monkeypatch.setenv(name, "hunter2")
    assert (collect_fingerprint(ROOT).entries(), environment.kernel_settings(threads=True)) == before


def test_a_run_of_before_does_not_differ_in_what_was_not_recorded_then(monkeypatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    now = collect_fingerprint(ROOT).entries()
    assert now["gpu"]
    old = {key: value for key, value in now.items() if key not in ("gpu", "env", "env.OPENBLAS_CORETYPE")}
    assert fingerprint_differences(old, now) == []
    assert [d.key for d in fingerprint_differences(old, {**now, "env.OMP_NUM_THREADS": "1"})] == ["env.OMP_NUM_THREADS"]


def test_keras_json_decides_nothing(tmp_path) -> None:
    """Seen where it would show: in the settings that Keras ends up with, in a process of its own."""
    (tmp_path / "keras.json").write_text(
        '{"floatx": "float64", "epsilon": 0.5, "image_data_format": "channels_first", "backend": "torch", '
        '"nnx_enabled": true}'
    )
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r})\n"
        "from thaw.common import tensorflow_setup as setup; setup.import_tensorflow()\n"
        "import keras, tensorflow as tf; c = keras.config\n"
        "print(c.floatx(), c.epsilon(), c.image_data_format(), c.backend(), keras.Input((2,)).dtype)\n"
        "setup.start_tensorflow(0, True); print(tf.config.experimental.tensor_float_32_execution_enabled())\n"
        "setup.start_tensorflow(0, True, True); print(tf.config.experimental.tensor_float_32_execution_enabled())\n"
    )
    environ = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    environ |= {"KERAS_HOME": str(tmp_path), "KERAS_NNX_ENABLED": "1", "TF_USE_LEGACY_KERAS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=True)
    assert done.stdout.split("\n")[:3] == ["float32 1e-07 channels_last tensorflow float32", "False", "True"]
    (tmp_path / "keras.json").write_text('{"floatx": "float7"}')
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=False)
    assert "keras.json has a value that Keras does not know. Mend it or remove it" in done.stderr


def test_importing_scikit_learn_changes_no_key_of_the_cache() -> None:
    """Features that were kept before it is imported are found behind it: a head that is solved for imports it."""
    code = "from thaw.common.environment import kernel_settings as k; a = k(False), k(True); import sklearn"
    code += "; assert (k(False), k(True)) == a"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    env = {name: value for name, value in env.items() if not name.startswith("KMP_")}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
