"""Command line of thaw.cache.tool."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from thaw.config import cli, schema


def main(config: schema.CacheToolConfig) -> None:
    from thaw.cache.tool import cache

    cache(config)


if __name__ == "__main__":
    cli.command(ROOT, "cache", schema.CacheToolConfig, main)
