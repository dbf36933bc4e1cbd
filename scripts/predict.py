"""Command line of thaw.predict."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from thaw.config import cli, tool_schemas


def main(config: tool_schemas.PredictConfig) -> None:
    from thaw.predict import predict

    predict(config)


if __name__ == "__main__":
    cli.command(ROOT, "predict", tool_schemas.PredictConfig, main)
