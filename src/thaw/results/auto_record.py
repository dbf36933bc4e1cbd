"""What recipe=auto measured and chose, as it lies in a run's folder: a resumed run has it too."""

import json
from pathlib import Path
from typing import Any

AUTO_FILE = "auto.json"


def read_auto_record(folder: Path) -> dict[str, Any]:
    """Return the record in a run's folder; empty if another recipe was asked for."""
    file = folder / AUTO_FILE
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
