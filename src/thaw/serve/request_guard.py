"""Refuses requests that a web page of another site makes a person's browser send, and adds headers of safety."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from thaw.serve.answer_json import AsciiJson

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]", "::1")
_SAFETY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class SameOriginApp:
    """Answers 403 to what pages of other sites post; browsers say where a request comes from, other clients do not.

    allowed_origins: of pages that may, such as `https://example.org`.
    """

    def __init__(self, app: ASGIApp, allowed_origins: tuple[str, ...]) -> None:
        self._app, self._allowed_origins = app, allowed_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application, or refuse."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SAFETY.items():
                    headers.setdefault(name, value)
            await send(message)

        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and self._is_foreign(Headers(scope=scope)):
            reason = "a web page of another site may not use this server (allowed_origins of the server)"
            await AsciiJson({"error": reason}, 403)(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)

    def _is_foreign(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin is None:
            return headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        return origin not in self._allowed_origins and urlsplit(origin).netloc != headers.get("host", "")
