"""Around every request: who may ask, what the answer says to the browser, and the log."""

from __future__ import annotations

import ipaddress
import logging
import re
import secrets
import time
from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coloria.web.errors import RefusedError, respond
from coloria.web.logs import request_line
from coloria.web.metrics import Metrics
from coloria.web.settings import Settings

__all__ = ["Guard"]

_log = logging.getLogger("coloria.web")

PAGE_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "font-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # the address of results is their key
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

SAFE = ("GET", "HEAD", "OPTIONS")

CLOSED = 499
"""In the log: the client went away before it had an answer (nginx's number)."""

_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


class Guard:
    """ASGI middleware.

    Args:
        app: What it is put around.
        settings: Hosts and origins that are known.
        metrics: Counts requests.
    """

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics
        self.hosts = frozenset(settings.hosts or _local_names(settings.host))
        self.origins = frozenset(settings.origins)
        other = {"Cross-Origin-Resource-Policy": "cross-origin"} if self.origins else {}
        self.headers = HEADERS | other

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(scope, send, self.headers)
        try:
            await self._answer(scope, receive, answer)
        finally:
            self._note(scope, answer)

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        request = Request(scope, receive)
        try:
            self._check(request.headers, scope["method"])
            await self.app(answer.scope, receive, answer)
        except RefusedError as error:
            await respond(request, error)(scope, receive, answer)
        except ClientDisconnect:
            answer.status = CLOSED
        except Exception:
            _log.exception("unexpected error; request %s", answer.request_id)
            if answer.status:
                raise
            message = "something unforeseen happened; it has been written down"
            hint = "tell the operator the request's id"
            refusal = RefusedError("internal", message, hint=hint)
            await respond(request, refusal)(scope, receive, answer)

    def _check(self, headers: Headers, method: str) -> None:
        host = headers.get("host", "")
        name = _split(f"//{host}").hostname if re.fullmatch(r"[\w.:\[\]-]*", host) else None
        if self.hosts and name not in self.hosts:
            hint = "the operator can allow it with --hosts"
            raise RefusedError("bad_host", "the site is not known by this name", hint=hint)
        if method not in SAFE and not self._same_origin(headers, host):
            raise RefusedError(
                "cross_origin",
                "another site's page may not do this",
                hint="the operator can allow it with --origins",
            )

    def _same_origin(self, headers: Headers, host: str) -> bool:
        """Whether a page of this site, or no page at all, asks."""
        origin = headers.get("origin")
        if origin in self.origins:
            return True
        site = headers.get("sec-fetch-site")
        if site is not None:
            return site in ("same-origin", "none")
        return origin is None or _split(origin).netloc == host

    def _note(self, scope: Scope, answer: _Answer) -> None:
        seconds = time.perf_counter() - answer.begun
        route = getattr(answer.scope.get("route"), "path", "other")
        timed = None if answer.stream else seconds
        self.metrics.count(scope["method"], route, answer.status, timed)
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        path: bytes = scope.get("raw_path") or scope["path"].encode()
        request_line(
            client=scope["client"][0] if scope.get("client") else "local",
            method=scope["method"],
            url=(path + query).decode("ascii", "backslashreplace"),
            status=answer.status or CLOSED,
            seconds=seconds,
            request_id=answer.request_id,
        )


class _Answer:
    """Sends an answer, with what every answer has."""

    def __init__(self, scope: Scope, send: Send, headers: dict[str, str]) -> None:
        self.send, self.headers = send, headers
        self.begun, self.status, self.stream = time.perf_counter(), 0, False
        self.head = scope["method"] == "HEAD"
        given = Headers(scope=scope).get("x-request-id", "")
        self.request_id = given if _ID.fullmatch(given) else secrets.token_hex(8)
        scope["request_id"] = self.request_id
        # An answer to HEAD is that to GET without its body.
        self.scope = {**scope, "method": "GET"} if self.head else scope

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(raw=message["headers"])
            self.stream = headers.get("content-type", "").startswith("text/event-stream")
            for name, value in self.headers.items():
                headers.setdefault(name, value)
            headers["X-Request-ID"] = self.request_id
            message["headers"] = headers.raw
        elif self.head:
            message = {**message, "body": b""}
        await self.send(message)


def _split(url: str) -> SplitResult:
    """The parts of an address that a client sent; empty where it is none."""
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", "", "", "")


def _local_names(host: str) -> Iterator[str]:
    """What a site on a local address is called; nothing else, so that no page of another site
    reaches it by a name that it points here (DNS rebinding).
    """
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if local:
        yield from ("localhost", "127.0.0.1", "::1", host)
