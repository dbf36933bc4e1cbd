"""What SECURITY.md promises of the source, read from the source."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "scripts").glob("*.py"), ROOT / "train.py"])

# Calls by their written name, and what is wrong with them.
RUNS_WHAT_IT_READS = {
    "pickle.load", "pickle.loads", "pickle.Unpickler", "pickle._Unpickler", "marshal.loads", "marshal.load",
    "dill.load", "dill.loads", "cloudpickle.load", "cloudpickle.loads", "joblib.load", "torch.load", "shelve.open",
    "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.full_load_all", "yaml.unsafe_load", "yaml.unsafe_load_all",
    "eval", "exec", "compile", "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput",
    "load_model", "model_from_json", "model_from_config", "enable_unsafe_deserialization", "instantiate",
}  # fmt: skip
FETCHES = {"urlopen", "urlretrieve", "get_file"}
EXTRACTS = {"extractall", "extract", "unpack_archive"}
KEYWORDS = {("allow_pickle", True), ("safe_mode", False), ("shell", True)}
READERS = {"data/cifar10": "_ArraysOnly", "models/torch_tensors": "_TensorUnpickler"}


def name_of(node: ast.expr) -> str:
    """`a.b.c` of a call's function; of `x().b` only `.b`."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def called(node: ast.Call, names: set[str]) -> bool:
    written = name_of(node.func)
    return written in names or any("." not in name and written.endswith(f".{name}") for name in names - {"compile"})


def violations_in(source: str) -> list[str]:
    """What a module does that none may do: a line each."""
    violations = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and any(name_of(base).endswith("Unpickler") for base in node.bases):
            violations.append(f"unpickler {node.name}")
        if not isinstance(node, ast.Call):
            continue
        kinds = {"runs": RUNS_WHAT_IT_READS, "fetches": FETCHES, "extracts": EXTRACTS}
        violations += [f"{kind} {ast.unparse(node)}" for kind, names in kinds.items() if called(node, names)]
        for keyword in node.keywords:
            if isinstance(keyword.value, ast.Constant) and (keyword.arg, keyword.value.value) in KEYWORDS:
                violations.append(f"keyword {ast.unparse(node)}")
    return violations


# What is allowed, with the reason: anything else is a violation.
ALLOWED = {
    "data/cifar10": ["unpickler _ArraysOnly"],  # admits names of numpy's arrays only
    "models/torch_tensors": [
        "unpickler _TensorUnpickler"
    ],  # admits the names of plain tensors, for which it has its own stand-ins
    "models/weight_files": ["extracts archive.extract('model.weights.h5', folder)"],  # a fixed name, a temporary folder
    # Files that the export itself has written a moment ago into its own temporary folder, to compare them.
    "export/h5json_format": [
        "runs keras.models.model_from_json((folder / 'model_structure.json').read_text(encoding='utf-8'))"
    ],
    "export/keras_format": ["runs keras.saving.load_model(folder / 'model.keras')"],
    # PyTorch's own restricted reader, in another tool's environment.
    "src/thaw_lab/peers/fastai_fine_tune": ["runs torch.load(weights, weights_only=True)"],
    "common/downloads": ["fetches urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS)"],
}


def module_name(file: Path) -> str:
    return file.relative_to(ROOT).with_suffix("").as_posix().removeprefix("src/thaw/")


@pytest.mark.parametrize("file", SOURCES, ids=module_name)
def test_nothing_that_is_read_is_run(file: Path) -> None:
    assert violations_in(file.read_text(encoding="utf-8")) == ALLOWED.get(module_name(file), [])


@pytest.mark.parametrize(
    "line",
    [
        "pickle.loads(b)", "class A(pickle.Unpickler): ...", "np.load(f, allow_pickle=True)", "yaml.load(f, Loader)",
        "keras.models.load_model(f)", "mlflow.keras.load_model(f)", "f(safe_mode=False)", "eval('1')",
        "builtins.exec('1')", "os.system('ls')", "subprocess.run('ls', shell=True)", "tarfile.open(f).extractall(p)",
        "a.extract(name, p)", "urlretrieve(u, f)", "keras.utils.get_file(n, u)", "hydra.utils.instantiate(c)",
    ],
)  # fmt: skip
def test_each_violation_would_be_noticed(line: str) -> None:
    assert len(violations_in(line)) == 1


@pytest.mark.parametrize("line", ["model.compile(loss)", "re.compile('a')", "yaml.safe_load(f)", "np.load(f)"])
def test_what_is_harmless_is_none(line: str) -> None:
    assert violations_in(line) == []


def test_every_command_that_starts_the_tracking_ui_binds_it_to_this_machine() -> None:
    texts = [*ROOT.glob("*.md"), *(ROOT / "conf").rglob("*.yaml"), *SOURCES]
    lines = [line for file in texts for line in file.read_text(encoding="utf-8").splitlines()]
    starts = [line for line in lines if re.search(r"\bmlflow (ui|server)\b", line)]
    assert starts
    assert [line for line in starts if "--host 127.0.0.1" not in line] == []
