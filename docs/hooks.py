"""MkDocs hook: adds the reference pages that are generated from the schema and the tables."""

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    sys.path[:0] = [str(ROOT / "src"), str(ROOT / "docs")]  # MkDocs undoes it when a hook is loaded
    from reference_pages import pages

    for path, content in pages(ROOT).items():
        files.append(File.generated(config, path, content=content))
    return files
