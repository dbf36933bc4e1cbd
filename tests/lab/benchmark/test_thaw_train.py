"""train.py with its imports done beforehand: what a run turns off is turned off here too."""

from thaw_lab.benchmark.thaw_scripts import thaw_train


def test_openvino_and_mlflow_are_not_imported_past_what_turns_their_telemetry_off() -> None:
    """OpenVINO's forks the process; its child can wait for a lock of the parent's forever, and the run for it."""
    assert "openvino" not in thaw_train.LATE_IMPORTS
    source = thaw_train.main.__code__.co_names
    first_import = source.index("LATE_IMPORTS")
    assert source.index("import_openvino") < first_import
    assert source.index("quiet_mlflow") < first_import
