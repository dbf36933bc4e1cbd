"""What the OpenAPI description says of each address; /docs shows it."""

from typing import Any

from pydantic import BaseModel, Field

ABOUT = (
    "Classifies pictures with one network, on the engine and in the precision that its run was judged with. "
    'A refusal is `{"error": reason}`.'
)


class ClassProbability(BaseModel):
    """A class and its probability."""

    name: str = Field(alias="class")
    probability: float | None


class ImageResult(BaseModel):
    """An image's classes, most probable first, or why it cannot be read."""

    name: str
    predictions: list[ClassProbability] | None = None
    error: str | None = None


class PredictAnswer(BaseModel):
    """An entry for every image, in the order in which they were sent."""

    model: str
    results: list[ImageResult]


class ExplainAnswer(BaseModel):
    """The picture under its heat map, as the data URL of a JPEG."""

    name: str
    label: str = Field(alias="class")
    probability: float | None
    nothing_speaks_for_it: bool
    picture: str


class ErrorAnswer(BaseModel):
    """Why a request was refused."""

    error: str


_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FILES = {
    "type": "object",
    "properties": {"images": {"type": "array", "items": {"type": "string", "format": "binary"}}},
}
_TEXTS = {
    "type": "object",
    "required": ["images"],
    "properties": {
        "images": {"type": "array", "items": {"type": "string"}, "description": "base64, plain or as data URLs"}
    },
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _FILES},
            "image/jpeg": _BINARY,
            "image/png": _BINARY,
            "application/json": {"schema": _TEXTS},
        },
    }
}
_REASONS = {
    400: "the body is not what its content-type says, or has no image",
    403: "a web page of another site may not use the server",
    408: "the request did not arrive in time",
    413: "the request is too large, or has too many images",
    415: "a content-type that is not read",
    422: "no image can be read, or a query parameter is out of range",
    503: "too many requests wait, or the server ends; Retry-After says when to try again",
    504: "no answer in time",
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": reason} for status, reason in _REASONS.items()
}

PREDICT: dict[str, Any] = {
    "summary": "Classes and probabilities of images",
    "description": (
        "Files of a form (any field names), one image as the body, or JSON. With several images each has its own "
        "entry, and one that cannot be read has an `error` there; the status is 422 only when none can."
    ),
    "response_model": PredictAnswer, "openapi_extra": _BODY, "responses": _ERRORS,
}  # fmt: skip
EXPLAIN: dict[str, Any] = {
    "summary": "Where in an image the network sees a class (Grad-CAM)",
    "response_model": ExplainAnswer, "openapi_extra": _BODY, "responses": _ERRORS,
}  # fmt: skip
HEALTH: dict[str, Any] = {"summary": "Whether the server is ready, and what it serves", "response_model": None}
METRICS: dict[str, Any] = {"summary": "Counters for Prometheus", "response_model": None}
