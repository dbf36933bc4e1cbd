"""Commands that are printed: they work as they stand, pasted into the shell that thaw was started from."""

import shlex
import shutil
import sys
from pathlib import Path

from thaw.common.console import display_path
from thaw.config.install_paths import checkout_root
from thaw.config.schema import TrackingConfig


def script_command(name: str) -> str:
    """Return how to call `train` or a tool from here: `python train.py`, `python scripts/NAME.py` or `thaw NAME`.

    It is as long as it was typed: ./scripts/train calls train.py by its whole path, of which the shell's folder and
    what is below it need only the rest.
    """
    started = Path(sys.argv[0])
    if started.name == "__main__.py" and started.parent.name == "thaw":
        return f"python -m thaw {name}"
    if started.stem == "thaw":
        return f"{'thaw' if shutil.which('thaw') == str(started) else shlex.quote(str(started))} {name}"
    root = checkout_root()
    if root is None:
        return f"thaw {name}"
    script = "train.py" if name == "train" else f"scripts/{name}.py"
    typed = display_path(started)
    if typed.name == "train.py":
        script = (typed.parent / script).as_posix()
    elif typed.parent.name == "scripts":
        script = (typed.parent.parent / script).as_posix()
    elif typed.parent == Path() and (root / "scripts" / typed).is_file():  # typed in scripts/ itself
        script = f"../{script}"
    elif typed.suffix == ".py":  # a program of the user's own, which imports thaw
        script = display_path(root / script).as_posix()
    return f"python {shlex.quote(script)}"


def run_id_command(name: str, key: str, run_id: str, folder: Path, uri: str) -> str:
    """Return a command for a run: `python train.py resume=RUN_ID`.

    A run in another store than the default one is named by its folder, which says where that is: `outputs=` and
    `tracking.uri=` need not be given again, and no password of a store is printed.
    """
    return f"{script_command(name)} {shell_assignment(key, run_id if _default(uri) else str(folder.absolute()))}"


def shell_assignment(key: str, value: str) -> str:
    """Return `key=value`, quoted for a shell."""
    return f"{key}={shlex.quote(value)}"


def mlflow_command(uri: str, arguments: str) -> str:
    """Return an MLflow command for a store. STORE stands for a URI that may hold a password."""
    store = "STORE" if "@" in uri else shlex.quote(uri)
    return f"MLFLOW_TRACKING_URI={store} mlflow {arguments}"


def _default(uri: str) -> bool:
    """Whether a command without `outputs=` and `tracking.uri=` looks there; in an installed thaw, from this folder."""
    root = checkout_root()
    if root is None:
        return display_path(Path(uri.removeprefix("sqlite:///"))) == Path("outputs/mlflow.db")
    return uri in (TrackingConfig().uri, f"sqlite:///{(root / 'outputs').as_posix()}/mlflow.db")
