"""The HTTP interface: /predict, /explain, /health, /metrics, its description, and the page."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp

from thaw.common.console import printable
from thaw.data.file_bytes import BadImageError
from thaw.serve import api_description
from thaw.serve.answer_json import AsciiJson, finite, image_entry
from thaw.serve.heat_pictures import heat_picture
from thaw.serve.http_metrics import MeasuredApp, Metrics
from thaw.serve.image_service import ImageService
from thaw.serve.request_guard import SameOriginApp
from thaw.serve.request_images import SentImage, read_images
from thaw.serve.serve_limits import BodyBuffer, Limits, Refused, busy, while_connected
from thaw.serve.start_page import page_policy, start_page

MAX_EXPLAINED = 8  # heat maps that are computed or wait: each takes as long as some predictions
PATHS = frozenset(("/", "/predict", "/explain", "/health", "/metrics", "/docs", "/openapi.json"))


@dataclass(frozen=True)
class Access:
    """Who may use the server: host names by which it is called, all if empty, and origins of other sites' pages."""

    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()


class ServerState:
    """What requests share. draining: the server ends and takes nothing new."""

    def __init__(self, service: ImageService, limits: Limits, buffer: BodyBuffer, metrics: Metrics, top: int) -> None:
        self.service, self.limits, self.buffer, self.metrics, self.top = service, limits, buffer, metrics, top
        self.draining, self.explaining = False, 0

    @asynccontextmanager
    async def images_of(self, request: Request) -> AsyncIterator[list[SentImage]]:
        """Yield a request's images; their bytes count as held until the block ends."""
        with self.buffer.share() as share:
            yield await read_images(request, self.limits, share)


def build_app(state: ServerState, access: Access) -> ASGIApp:
    """Return the application with its guards: what they refuse is counted too."""
    app = FastAPIOffline(
        redoc_url=None, title=f"thaw: {state.service.model.name}", description=api_description.ABOUT, version="1"
    )
    _add_errors(app)
    _add_answers(app, state)
    _add_pages(app, state)
    guarded: ASGIApp = app
    if access.origins:
        guarded = CORSMiddleware(guarded, access.origins, allow_methods=["GET", "POST"], allow_headers=["*"])
    guarded = SameOriginApp(guarded, access.origins)
    if access.hosts:
        guarded = TrustedHostMiddleware(guarded, access.hosts, www_redirect=False)
    return MeasuredApp(guarded, state.metrics, PATHS)


def _add_answers(app: FastAPI, state: ServerState) -> None:
    model = state.service.model

    @app.post("/predict", **api_description.PREDICT)
    async def predict(
        request: Request,
        top: Annotated[int, Query(ge=1, description="classes of an image")] = state.top,
        calibrated: Annotated[bool, Query(description="probabilities after the run's temperature")] = False,
    ) -> Response:
        if calibrated and model.calibrate is None:
            raise Refused(422, "calibrated=true: there is no temperature for this network's probabilities")
        calibrate = model.calibrate if calibrated else None
        async with state.images_of(request) as images:
            answers = await while_connected(request, state.service.answers(images))
        failed = sum(answer.probabilities is None for answer in answers)
        for outcome, count in (("answered", len(answers) - failed), ("unreadable", failed)):
            state.metrics.images.labels(outcome).inc(count)
        entries = [image_entry(answer, model.class_names, top, calibrate) for answer in answers]
        content: dict[str, Any] = {"model": model.name, "results": entries}
        if failed < len(answers):
            return AsciiJson(content)
        first = f"{answers[0].name}: {answers[0].error}"
        return AsciiJson({"error": first if failed == 1 else f"no image can be read; {first}", **content}, 422)

    @app.post("/explain", **api_description.EXPLAIN)
    async def explain(
        request: Request,
        name: Annotated[str | None, Query(alias="class", description="default: the predicted class")] = None,
    ) -> Response:
        if model.heat is None:
            raise Refused(422, "this network has no feature map, so there is no heat map of it")
        if name is not None and name not in model.class_names:
            raise Refused(422, f"class={printable(name[:100])} is no class of this network; /health lists them")
        if state.explaining >= MAX_EXPLAINED:
            raise busy(f"{state.explaining} heat maps wait already")
        state.explaining += 1
        try:
            async with state.images_of(request) as images:
                if len(images) != 1:
                    raise Refused(400, f"/explain takes one image a request, not {len(images)}")
                explanation = _explanation(state.service, images[0], name)
                return AsciiJson(await while_connected(request, explanation))
        finally:
            state.explaining -= 1


async def _explanation(service: ImageService, image: SentImage, name: str | None) -> dict[str, Any]:
    """Return what /explain answers. Raises Refused (422) for an image that cannot be read."""
    model = service.model
    assert model.heat is not None  # asked before
    (answer,) = await service.answers([image])
    if answer.probabilities is None:
        raise Refused(422, f"{answer.name}: {answer.error}")
    label = int(answer.probabilities.argmax()) if name is None else list(model.class_names).index(name)
    try:
        pixels = await service.pixels(image)
        heat = await asyncio.to_thread(model.heat, pixels, label)
        picture = await asyncio.to_thread(heat_picture, image.content, image.name, heat, model.options)
    except BadImageError as error:
        raise Refused(422, str(error)) from error
    probability = finite(float(answer.probabilities[label]))
    return {
        "name": image.name, "class": model.class_names[label], "probability": probability,
        "nothing_speaks_for_it": not heat.any(), "picture": picture,
    }  # fmt: skip


def _add_pages(app: FastAPI, state: ServerState) -> None:
    model = state.service.model
    page = start_page(model.name, model.image_size, heat=model.heat is not None)

    @app.head("/", include_in_schema=False)
    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        headers = {"Content-Security-Policy": page_policy(), "Cache-Control": "no-store"}
        return Response(page, media_type="text/html; charset=utf-8", headers=headers)

    @app.head("/health", include_in_schema=False)
    @app.get("/health", **api_description.HEALTH)
    async def health() -> Response:
        status = "draining" if state.draining else "ready"
        facts = {"status": status, "model": model.name, "classes": list(model.class_names), **(model.facts or {})}
        return AsciiJson(facts, 503 if state.draining else 200)

    @app.get("/metrics", **api_description.METRICS)
    async def metrics() -> Response:
        return Response(state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_errors(app: FastAPI) -> None:
    """Have every refusal answered as {"error": reason}."""

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
        headers |= {"Connection": "close"} if error.close else {}
        return AsciiJson({"error": error.reason}, error.status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        parts = (
            f"{fault['loc'][-1]}={printable(str(fault.get('input'))[:100])}: {fault['msg']}" for fault in error.errors()
        )
        return AsciiJson({"error": "; ".join(parts)}, 422)

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> Response:
        return AsciiJson({"error": str(error.detail)}, error.status_code, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> Response:  # uvicorn logs the traceback
        return AsciiJson({"error": "the server failed at this request; its log says why"}, 500)
