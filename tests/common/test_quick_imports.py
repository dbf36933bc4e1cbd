"""Imports without garbage collection, and without what they do not need."""

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

import thaw
from thaw.common.quick_imports import collection_paused, modules_hidden


class Node:
    """Something that a cycle of references can be made of."""

    other: "Node"


def cycle() -> "weakref.ref[Node]":
    """Make a cycle of references, forget it, and return a reference that tells whether it is alive."""
    node, other = Node(), Node()
    node.other, other.other = other, node
    return weakref.ref(node)


def test_garbage_is_not_collected_while_a_package_is_imported_and_is_afterwards() -> None:
    with collection_paused():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_failing_import_leaves_collection_as_it_was() -> None:
    with pytest.raises(ImportError), collection_paused():
        raise ImportError
    assert gc.isenabled()


def test_a_process_without_collection_stays_without() -> None:
    gc.disable()
    try:
        with collection_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_network_that_exists_can_be_freed_after_a_later_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network is a cycle of references, and Keras is imported before there is one."""
    monkeypatch.setitem(sys.modules, "keras", sys)
    alive = cycle()
    with collection_paused():
        pass
    gc.collect()
    assert alive() is None


def test_hidden_modules_are_missing_in_the_block_and_can_be_imported_after_it() -> None:
    sys.modules.pop("colorsys", None)
    with modules_hidden("colorsys", "json"):
        import json  # imported before the block

        with pytest.raises(ModuleNotFoundError):
            import colorsys
    import colorsys

    assert json.loads("1") + colorsys.rgb_to_hsv(0, 0, 1)[2] == 2


@pytest.mark.parametrize("from_command_line", [True, False])
def test_commands_import_keras_without_what_they_do_not_use(from_command_line: bool) -> None:
    """A program that uses thaw may use all of Keras itself."""
    prepare = "tensorflow_setup.import_keras_without_extras()" if from_command_line else "pass"
    code = f"""
import sys
from thaw.common import tensorflow_setup
{prepare}
tensorflow_setup.import_tensorflow()
print("sklearn" in sys.modules, "matplotlib" in sys.modules)
import matplotlib.figure, sklearn
"""
    env = {**os.environ, "PYTHONPATH": str(Path(thaw.__file__).parents[1])}  # installed or not
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False" if from_command_line else "True"] * 2
