"""Where thaw's files are: in a checkout, or in an installed package that carries conf/ inside."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def checkout_root() -> Path | None:
    """Return the root of the checkout that this code runs from, None when it runs from an installed package."""
    root = _PACKAGE.parents[1]
    return root if _PACKAGE.parent.name == "src" and (root / "conf" / "config.yaml").is_file() else None


def conf_dir() -> Path:
    """Return the folder of thaw's own choices: the checkout's conf/, or the package's."""
    return (checkout_root() or _PACKAGE) / "conf"


def default_outputs() -> Path:
    """Return where runs are written unless told otherwise: in the checkout, else in the working directory."""
    return (checkout_root() or Path.cwd()) / "outputs"
