"""Requests of many clients at once, and what became of each."""

import base64
import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx

TOLERANCE = 1e-5  # of a probability
RETRY_SECONDS = 0.2  # until a request that was refused for want of room, or met no server, is sent again
STATUS_OK, STATUS_BUSY = 200, 503

Probabilities = Mapping[str, float]  # by class


@dataclass(frozen=True)
class LoadImage:
    """A file that is sent, and the probabilities that are right for it; None: it is broken and must be refused.

    Classes that `expected` does not have are not compared.
    """

    name: str
    content: bytes
    expected: Probabilities | None


@dataclass(frozen=True)
class Protocol:
    """How a server is asked. body: of an image; answer: the probabilities of its answer's JSON, all classes."""

    path: str
    body: Callable[[bytes], tuple[bytes, str]]
    answer: Callable[[Any], Probabilities]
    unreadable: tuple[int, ...] = (400, 422)  # the former: nothing at all was sent


def _mlflow_body(content: bytes) -> tuple[bytes, str]:
    inputs = {"inputs": [base64.b64encode(content).decode()], "params": {"top_k": 0}}
    return json.dumps(inputs).encode(), "application/json"


def _thaw_answer(content: Any) -> Probabilities:
    return {entry["class"]: entry["probability"] for entry in content["results"][0]["predictions"]}


def _mlflow_answer(content: Any) -> Probabilities:
    return {row["class"]: row["probability"] for row in content["predictions"]}


PROTOCOLS = {
    "thaw": Protocol("/predict?top=1000", lambda content: (content, "image/jpeg"), _thaw_answer),
    "mlflow": Protocol("/invocations", _mlflow_body, _mlflow_answer, unreadable=(400,)),
}


@dataclass
class LoadResult:
    """What became of the requests. seconds: of each answered one, the last try alone. wrong: what was, by request."""

    requests: int
    clients: int
    answered: int = 0
    refused: int = 0
    retries: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    total_seconds: float = 0.0
    memory_mb: dict[int, float] = field(default_factory=dict)  # of the server, by requests that had ended

    @property
    def lost(self) -> int:
        """How many requests have no answer."""
        return self.requests - self.answered - self.refused - len(self.wrong)

    def percentile_ms(self, share: float) -> float:
        """Return a percentile of the latency, in milliseconds."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")

    def facts(self) -> dict[str, float | int]:
        """Return the figures by name."""
        return {
            "clients": self.clients, "requests": self.requests, "answered": self.answered, "refused": self.refused,
            "lost": self.lost, "wrong": len(self.wrong), "retries": self.retries,
            "p50_ms": round(self.percentile_ms(0.5), 1), "p95_ms": round(self.percentile_ms(0.95), 1),
            "images_per_second": round(self.requests / self.total_seconds, 1),
            **{f"memory_mb_after_{n}": round(mb, 1) for n, mb in sorted(self.memory_mb.items())},
        }  # fmt: skip


def send_load(
    address: str,
    images: Sequence[LoadImage],
    requests: int,
    clients: int,
    protocol: Protocol = PROTOCOLS["thaw"],
    seed: int = 0,
    patience_seconds: float = 120.0,
    on_ended: Callable[[int, LoadResult], None] = lambda ended, result: None,
) -> LoadResult:
    """Send requests from many clients at once, each as soon as its last one is answered.

    A request that is refused for want of room (503), or that a server which ends does not answer, is sent again.

    Args:
        address: of the server, `http://127.0.0.1:8000`.
        images: of which each request sends one, by chance.
        requests: in all.
        clients: threads with a connection each.
        protocol: how the server is asked.
        seed: of what is sent.
        patience_seconds: how long a request is tried for.
        on_ended: called after each request with the number of those that have ended.
    """
    rng = random.Random(seed)
    chosen = [rng.choice(images) for _ in range(requests)]
    result, lock, tickets = LoadResult(requests, clients), threading.Lock(), count()
    ended = count(1)

    def run_client() -> None:
        with httpx.Client(base_url=address, timeout=60) as client:
            while (ticket := next(tickets)) < requests:
                outcome = _Request(client, protocol, chosen[ticket], patience_seconds).send()
                with lock:
                    _add(result, f"request {ticket}, {chosen[ticket].name}", outcome)
                    number = next(ended)
                on_ended(number, result)

    threads = [threading.Thread(target=run_client, daemon=True) for _ in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result.total_seconds = time.perf_counter() - started
    return result


@dataclass
class _Request:
    """One request, until it has an answer. fault: what was wrong with it; None: nothing, or it has none."""

    client: httpx.Client
    protocol: Protocol
    image: LoadImage
    patience_seconds: float
    retries: int = 0
    status: int | None = None
    fault: str | None = None
    seconds: float = 0.0

    def send(self) -> "_Request":
        body, kind = self.protocol.body(self.image.content)
        until = time.monotonic() + self.patience_seconds
        while time.monotonic() < until:
            started = time.perf_counter()
            try:
                answer = self.client.post(self.protocol.path, content=body, headers={"Content-Type": kind})
            except httpx.TransportError:  # no server, or one that was killed meanwhile
                answer = None
            self.seconds = time.perf_counter() - started
            if answer is not None and answer.status_code != STATUS_BUSY:
                self.status, self.fault = answer.status_code, self._fault_of(answer)
                return self
            self.retries += 1
            time.sleep(RETRY_SECONDS)
        return self

    def _fault_of(self, answer: httpx.Response) -> str | None:
        if self.image.expected is None:
            return None if answer.status_code in self.protocol.unreadable else f"answered {answer.status_code}"
        if answer.status_code != STATUS_OK:
            return f"answered {answer.status_code}: {answer.text[:200]}"
        got, expected = self.protocol.answer(answer.json()), self.image.expected
        if missing := sorted(set(expected) - set(got)):
            return f"no probability of {missing}"
        difference = max(abs(got[name] - expected[name]) for name in expected)
        return None if difference <= TOLERANCE else f"a probability is off by {difference:.2g}"


def _add(result: LoadResult, what: str, request: _Request) -> None:
    result.retries += request.retries
    if request.fault:
        result.wrong.append(f"{what}: {request.fault}")
    elif request.status == STATUS_OK:
        result.answered += 1
        result.seconds.append(request.seconds)
    elif request.status is not None:
        result.refused += 1
