"""`python scripts/find_batch.py key=value ...`: the command `thaw find_batch` in a checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from thaw.__main__ import run_command

if __name__ == "__main__":
    run_command("find_batch")
