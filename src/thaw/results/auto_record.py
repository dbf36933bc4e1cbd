"""What recipe=auto measured and chose, as it lies in a run's folder: a resumed run has it too."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thaw.common.durations import duration, short_seconds

AUTO_FILE = "auto.json"


def read_auto_record(folder: Path) -> dict[str, Any]:
    """Return the record in a run's folder; empty if another recipe was asked for."""
    file = folder / AUTO_FILE
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def auto_facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a record as rows of the report's table of facts; none of an empty one."""
    if not record:
        return []
    timed = [f"{depth['freeze']} {short_seconds(depth['epoch_seconds'])} an epoch" for depth in record["depths"]]
    side = f" · at {record['image_size']} px" if "image_size" in record else ""
    tried = f"{duration(record['budget_seconds'])} in all{side}" + "".join(f" · behind {depth}" for depth in timed)
    helpful = [line.partition(": ") for line in record["lines"]]
    return [("recipe=auto", tried), *((subject, text) for subject, _, text in helpful)]
