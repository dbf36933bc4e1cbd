"""Loads a running server, and prints what was lost, wrong or slow.

python -m thaw_lab.serving.run_load --address http://127.0.0.1:8000 --expected predictions.json \
    --clients 1 8 32 --requests 1000 --broken 0.05 --pid PID

expected: what `thaw predict images=FOLDER format=json top=1000` wrote.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path

from thaw.common.console import printable
from thaw_lab.serving.load_requests import PROTOCOLS, LoadImage, LoadResult, send_load

FIRST_MEMORY = 200  # requests after which the server's memory is first noted: what it needs for its work it has then


def main() -> None:
    """Send the load for each number of clients; the exit code is 1 when an answer is lost or wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", required=True)
    parser.add_argument("--expected", type=Path, required=True, help="predictions of `thaw predict format=json`")
    parser.add_argument("--protocol", choices=tuple(PROTOCOLS), default="thaw", help="mlflow: of `mlflow models serve`")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--broken", type=float, default=0.05, help="share of broken pictures")
    parser.add_argument("--pid", type=int, help="process of the server, whose memory is noted")
    args = parser.parse_args()
    images = load_images(json.loads(args.expected.read_text(encoding="utf-8")), args.broken)
    results = []
    for clients in args.clients:
        memory = memory_watch(args.pid, args.requests) if args.pid else lambda ended, result: None
        result = send_load(
            args.address, images, args.requests, clients, PROTOCOLS[args.protocol], seed=clients, on_ended=memory
        )
        print(json.dumps(result.facts()), flush=True)
        for line in result.wrong[:10]:
            print(printable(line), file=sys.stderr)
        results.append(result)
    sys.exit(int(any(result.lost or result.wrong for result in results)))


def load_images(predictions: Sequence[dict[str, object]], broken: float) -> list[LoadImage]:
    """Return the images of a listing of `thaw predict format=json`, and so many broken ones that they are this share.

    The broken ones are halves of the first images, text, and nothing at all.
    """
    images = []
    for entry in predictions:
        path = Path(str(entry["image"]))
        expected = {row["class"]: row["probability"] for row in entry["predictions"]}  # type: ignore[attr-defined]
        images.append(LoadImage(path.name, path.read_bytes(), expected))
    wanted = max(1, round(broken * len(images) / (1 - broken))) if broken else 0
    damages: tuple[Callable[[bytes], bytes], ...] = (
        lambda content: content[: len(content) // 2],
        lambda content: b"this is no picture",
        lambda content: b"",
    )
    spoilt = [
        LoadImage(f"broken {image.name}", damages[i % len(damages)](image.content), None)
        for i, image in enumerate(islice(cycle(images), wanted))
    ]
    return images + spoilt


def memory_watch(pid: int, requests: int) -> Callable[[int, LoadResult], None]:
    """Return what notes a process's resident memory after FIRST_MEMORY requests and at the end."""

    def note(ended: int, result: LoadResult) -> None:
        if ended in (min(FIRST_MEMORY, requests), requests):
            result.memory_mb[ended] = resident_mb(pid)

    return note


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process, in MB (1e6 bytes). Linux only."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0]) / 1e6


if __name__ == "__main__":
    main()
