"""Commands that are printed: they work as they stand, pasted into the shell that thaw was started from."""

import shlex
import sys
from pathlib import Path

from thaw.common.console import display_path
from thaw.config.schema import TrackingConfig

_ROOT = Path(__file__).resolve().parents[3]


def script_command(name: str) -> str:
    """Return how to call a command, `train` or a script's name: `python train.py`, or as long as it was typed.

    ./scripts/train calls train.py by its whole path; in the shell's folder and below the rest of it is enough.
    """
    place = "train.py" if name == "train" else f"scripts/{name}.py"
    typed = display_path(Path(sys.argv[0]))
    if typed.name == "train.py":
        place = (typed.parent / place).as_posix()
    elif typed.parent.name == "scripts":
        place = (typed.parent.parent / place).as_posix()
    elif typed.parent == Path() and typed.suffix == ".py":  # typed in scripts/ itself
        place = f"../{place}"
    return f"python {shlex.quote(place)}"


def run_command(name: str, key: str, run_id: str, folder: Path, uri: str) -> str:
    """Return a command for a run: `python train.py resume=RUN_ID`.

    A run in another store than the default one is named by its folder, which says where that is: `outputs=` and
    `tracking.uri=` need not be given again, and no password of a store is printed.
    """
    return f"{script_command(name)} {shell_assignment(key, run_id if _default(uri) else str(folder.absolute()))}"


def shell_assignment(key: str, value: str) -> str:
    """Return `key=value`, quoted for a shell."""
    return f"{key}={shlex.quote(value)}"


def mlflow_command(uri: str, arguments: str) -> str:
    """Return a command of MLflow's for a store; one whose URI holds a password is left to be filled in."""
    place = "STORE" if "@" in uri else shlex.quote(uri)
    return f"MLFLOW_TRACKING_URI={place} mlflow {arguments}"


def _default(uri: str) -> bool:
    """Whether a command without `outputs=` and `tracking.uri=` looks there, in any shell."""
    return uri in (TrackingConfig().uri, f"sqlite:///{(_ROOT / 'outputs').as_posix()}/mlflow.db")
