"""Loads a model of the store as a stranger would, in a process without thaw, and prints what it answers, as JSON."""

import base64
import io
import json
import logging
import os
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from PIL import Image

PARAMS = {"top_k": 0}


def main(model_uri: str, files: list[str], tracking_uri: str) -> dict:
    logging.disable()
    assert not any(Path(folder, "thaw").is_dir() for folder in sys.path), sys.path
    mlflow.set_tracking_uri(tracking_uri)
    model = mlflow.pyfunc.load_model(model_uri)
    content = [Path(file).read_bytes() for file in files]
    texts = [base64.b64encode(data).decode() for data in content]
    pixels = [np.asarray(Image.open(io.BytesIO(data))) for data in content]
    forms = {
        "paths": files,
        "path objects": [Path(file) for file in files],
        "bytes": content,
        "base64": texts,
        "table": pd.DataFrame({"image": texts}),
        "arrays": pixels,
        "batch": np.stack(pixels),
        "Pillow": [Image.fromarray(picture) for picture in pixels],
    }
    answers = {name: model.predict(data, params=PARAMS).to_dict("records") for name, data in forms.items()}
    said = {"answers": answers, "one": model.predict(content[0], params={"top_k": 2}).to_dict("records")}
    said["by default"] = len(model.predict(content[0]))
    said["calibrated"] = refusal(model, content[0], {"calibrated": True})
    said["example"] = model.predict(model.input_example).to_dict("records")
    said["refused"] = refusal(model, [content[0], b"no picture", "nowhere.jpg"])
    said["distributions"] = used_distributions()
    said["thaw"] = sys.modules["thaw"].__file__
    said["http"] = over_http(model, texts, files)
    return said


def refusal(model: object, data: object, params: dict | None = None) -> list[str]:
    try:
        return ["", str(model.predict(data, params=params))]
    except Exception as error:
        return [type(error).__mro__[1].__name__, str(error)]


def used_distributions() -> list[str]:
    """The distributions that the loaded modules of thaw import themselves."""
    import ast

    distributions, names = packages_distributions(), set()
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "thaw" and getattr(module, "__file__", None):
            for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
                imported = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                imported += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
                names |= {name.partition(".")[0] for name in imported if name.partition(".")[0] in sys.modules}
    return sorted({distribution.lower().replace("_", "-") for n in names for distribution in distributions.get(n, [])})


def over_http(model: object, texts: list[str], files: list[str]) -> dict:
    """MLflow's own scoring server, called without a socket."""
    from fastapi.testclient import TestClient
    from mlflow.pyfunc import scoring_server

    client = TestClient(scoring_server.init(model))
    bodies = {
        "inputs": {"inputs": texts},
        "one input": {"inputs": texts[0]},
        "instances": {"instances": texts},
        "dataframe_split": {"dataframe_split": {"columns": ["image"], "data": [[text] for text in texts]}},
        "dataframe_records": {"dataframe_records": [{"image": text} for text in texts]},
    }
    replies = {name: client.post("/invocations", json={**body, "params": PARAMS}) for name, body in bodies.items()}
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(texts[0])))).tolist()
    replies["pixels"] = client.post("/invocations", json={"inputs": pixels, "params": PARAMS})
    replies["broken"] = client.post("/invocations", json={"inputs": [texts[0], "bm8gcGljdHVyZQ=="]})
    replies["path"] = client.post("/invocations", json={"inputs": files[:1]})
    replies["bad top_k"] = client.post("/invocations", json={"inputs": texts[:1], "params": {"top_k": -1}})
    return {name: [reply.status_code, reply.json()] for name, reply in replies.items()}


if __name__ == "__main__":
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    print(json.dumps(main(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3])))
