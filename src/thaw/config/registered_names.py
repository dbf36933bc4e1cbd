"""Names of registered models, and how commands refer to them."""

import re

NAME_LENGTH = 256  # of MLflow's column

REFERENCE = re.compile(r"models:/(?P<name>[^/:@]+)(?:/(?P<version>\w+)|@(?P<alias>[\w-]+))?")
SHORT = re.compile(r"(?P<name>[^/:@\\]+)@(?P<alias>[\w-]+)")


def name_problem(name: str) -> str | None:
    """Return why a model cannot be registered under a name, or None."""
    if not name.strip() or name != name.strip() or name in (".", ".."):
        return "a name is not empty, a dot, or surrounded by spaces"
    if found := sorted(set(name) & set("/:@\\")):
        return f"a name has no {' '.join(found)}, which separates it from version and alias"
    if re.search(r"[\x00-\x1f]", name):
        return "a name has no control characters"
    return f"it has {len(name)} characters, stores take {NAME_LENGTH}" if len(name) > NAME_LENGTH else None


def is_reference(text: str) -> bool:
    """Return whether a text names a registered model: models:/NAME, models:/NAME/3, models:/NAME@alias, NAME@alias."""
    return text.startswith("models:/") or SHORT.fullmatch(text) is not None
