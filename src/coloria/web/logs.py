"""What the server writes to stderr: a line a request, without anything of a picture."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

__all__ = ["configure", "request_line"]

_requests = logging.getLogger("coloria.web.requests")


class _Json(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, Any] = {"time": _time(record), "level": record.levelname.lower()}
        facts |= getattr(record, "facts", None) or {"message": record.getMessage()}
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        return json.dumps(facts)


class _Text(logging.Formatter):
    """For people."""

    def format(self, record: logging.LogRecord) -> str:
        text = f"{_time(record)} {record.levelname.lower()} {record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def configure(*, as_json: bool) -> None:
    """Sends the log of the site and of uvicorn to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if as_json else _Text())
    for name in ("coloria.web", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)


def request_line(
    *, client: str, method: str, url: str, status: int, seconds: float, request_id: str
) -> None:
    """One request. The URL is as it came over the wire: percent-encoded, so it has no line ends."""
    facts = {
        "client": client,
        "method": method,
        "url": url,
        "status": status,
        "duration_ms": round(seconds * 1000, 1),
        "request_id": request_id,
    }
    text = f"{client} {method} {url} {status} {facts['duration_ms']} ms {request_id}"
    _requests.info("%s", text, extra={"facts": facts})
