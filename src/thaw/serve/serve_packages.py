"""The packages of the extra `serve`."""

import importlib.util

from thaw.common.errors import UserError, joined

# The module that is imported, by the package's name.
PACKAGES = {
    "fastapi": "fastapi",
    "uvicorn": "uvicorn",
    "python-multipart": "python_multipart",
    "prometheus-client": "prometheus_client",
    "fastapi-offline": "fastapi_offline",
}


def check_packages_are_installed() -> None:
    """Raise UserError that names what is missing and the extra that brings it."""
    missing = [package for package, module in PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise UserError(
            f"serving needs {joined(missing)}, which {verb} not installed: it is thaw's extra serve. Install it with "
            f"pip install 'thaw[serve]', in a checkout with pip install '.[serve]', or pip install {' '.join(missing)}"
        )
