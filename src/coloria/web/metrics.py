"""Counters in the text format of Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coloria.web.desk import Desk

__all__ = ["TYPE", "Metrics"]

TYPE = "text/plain; version=0.0.4; charset=utf-8"

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper ends, in seconds, of the histogram of requests."""

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
"""Counted by name; clients can think up any other."""


class Metrics:
    """Counts requests; asks the desk for the rest."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.buckets: Counter[float] = Counter()
        self.seconds, self.timed = 0.0, 0

    def count(self, method: str, route: str, status: int, seconds: float | None) -> None:
        """One request; `route` is the pattern, so that there are few of them. Streams of events,
        which last as long as people watch, have no seconds.
        """
        method = method if method in METHODS else "other"
        self.requests[method, route, status] += 1
        if seconds is None:
            return
        self.timed += 1
        self.seconds += seconds
        self.buckets.update(limit for limit in BUCKETS_S if seconds <= limit)

    def text(self, desk: Desk) -> str:
        """All of it."""
        spans = {f'le="{limit:g}"': self.buckets[limit] for limit in BUCKETS_S}
        requests = {
            f'method="{method}",route="{route}",status="{status}"': count
            for (method, route, status), count in sorted(self.requests.items())
        }
        pool = desk.pool
        workers = {"configured": len(pool.workers), "ready": pool.ready, "busy": pool.busy}
        lines = [
            *_family("http_requests_total", "counter", "Requests answered.", requests),
            *_histogram("http_request_seconds", {**spans, 'le="+Inf"': self.timed}, self.seconds),
            *_family("pictures_total", "counter", "By outcome.", _by("outcome", desk.outcomes)),
            *_plain("picture_seconds_total", "counter", "At work on them.", pool.worked),
            *_plain("queue_pictures", "gauge", "Waiting.", len(pool.colors)),
            *_plain("jobs", "gauge", "Kept.", len(desk.jobs)),
            *_family("workers", "gauge", "Processes that colour.", _by("state", workers)),
            *_plain("worker_crashes_total", "counter", "Died at work.", pool.crashes),
            *_plain("worker_timeouts_total", "counter", "Took too long.", pool.timeouts),
            *_plain("disk_reserved_bytes", "gauge", "Uploads and results.", desk.store.bytes),
            *_plain("disk_limit_bytes", "gauge", "The same, at most.", desk.store.max_bytes),
        ]
        return "\n".join(lines) + "\n"


def _by(label: str, counts: Mapping[str, float]) -> dict[str, float]:
    return {f'{label}="{key}"': count for key, count in sorted(counts.items())}


def _plain(name: str, kind: str, help: str, value: float) -> Iterable[str]:
    return _family(name, kind, help, {"": value})


def _family(name: str, kind: str, help: str, values: Mapping[str, float]) -> Iterable[str]:
    yield f"# HELP coloria_{name} {help}"
    yield f"# TYPE coloria_{name} {kind}"
    for labels, value in values.items():
        yield f"coloria_{name}{{{labels}}} {value}" if labels else f"coloria_{name} {value}"


def _histogram(name: str, spans: Mapping[str, float], total_s: float) -> Iterable[str]:
    yield f"# HELP coloria_{name} Until the last byte was sent."
    yield f"# TYPE coloria_{name} histogram"
    for labels, value in spans.items():
        yield f"coloria_{name}_bucket{{{labels}}} {value}"
    yield f"coloria_{name}_sum {total_s:.6f}"
    yield f"coloria_{name}_count {list(spans.values())[-1]}"
