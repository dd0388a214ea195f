"""Orders wait here in line; each worker takes the next when it is free, and is replaced if it
dies or takes too long.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from coloria.errors import ColoriaError
from coloria.web.errors import Problem
from coloria.web.orders import Color, Done, Failed, Load, Order, Render
from coloria.web.settings import Settings
from coloria.web.workers import Worker, WorkerDiedError

__all__ = ["Pool", "Task", "TaskFailedError", "processors"]

_log = logging.getLogger("coloria.web")

GRACE_S = 2.0
"""How long a picture that nobody wants any more may go on before its process is ended."""

LONGEST_PAUSE_S = 30.0
"""Between two starts of a worker that dies again and again."""

FIRST_GUESS_S = 3.0
"""For one picture, until some have been timed."""

MEMORY = 0.9
"""Share of the old mean in the mean time of a picture."""


class TaskFailedError(ColoriaError):
    """An order came to nothing; `problem` tells why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(eq=False)
class Task:
    """One order on its way."""

    order: Color | Render
    outcome: asyncio.Future[Done]
    progress: Callable[[float], None]
    limit: asyncio.Timeout | None = None
    """Of the time it may take, while it is at work."""
    wanted: bool = True
    begun: bool = False
    """Whether a worker has said that it is at it."""
    again: bool = False
    """Whether it was given to another worker, the first having died before it began."""

    def said(self, share: float) -> None:
        """What a worker says of its progress."""
        self.begun = True
        self.progress(share)


class Pool:
    """The workers, and what waits for them.

    Args:
        settings: How many, where, and for how long.
        first: What each worker loads before anything else.
    """

    def __init__(self, settings: Settings, first: Load) -> None:
        self.settings, self.first = settings, first
        threads = settings.threads or max(1, processors() // settings.workers)
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, "-P", "-m", "coloria.web.worker"]
        command += [settings.device, settings.precision, str(int(settings.worker_mb * 1e6))]
        self.workers = [Worker(command, environment) for _ in range(settings.workers)]
        self.colors: deque[Task] = deque()
        self.renders: deque[Task] = deque()
        self.seconds = FIRST_GUESS_S
        """Mean time of a picture."""
        self.worked = 0.0
        """Seconds at work on pictures, of all workers together."""
        self.crashes = self.timeouts = 0
        self._waiting = asyncio.Semaphore(0)
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Starts the workers; orders may come at once."""
        self._loops = [asyncio.create_task(self._serve(worker)) for worker in self.workers]

    async def stop(self) -> None:
        """Ends the workers; what waits is cancelled."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        for task in (*self.renders, *self.colors):
            task.outcome.cancel()

    @property
    def ready(self) -> int:
        """Workers that can take orders."""
        return sum(worker.ready for worker in self.workers)

    @property
    def busy(self) -> int:
        """Workers at work."""
        return sum(worker.busy for worker in self.workers)

    @property
    def down(self) -> bool:
        """Whether no worker could be started, again and again."""
        return not self.ready and all(worker.failures > 1 for worker in self.workers)

    def wait_s(self) -> float:
        """About how long until what waits has been done."""
        return (len(self.colors) + self.busy) * self.seconds / len(self.workers)

    def submit(
        self, order: Color | Render, progress: Callable[[float], None] = lambda share: None
    ) -> Task:
        """Puts an order in line; renderings, which are quick, go before pictures to colour."""
        task = Task(order, asyncio.get_running_loop().create_future(), progress)
        self._line(order).append(task)
        self._waiting.release()
        return task

    def _line(self, order: Order) -> deque[Task]:
        return self.colors if isinstance(order, Color) else self.renders

    def cancel(self, task: Task) -> None:
        """Takes it out of the line; one that is at work has :data:`GRACE_S` to end."""
        line = self._line(task.order)
        if task in line:
            line.remove(task)
            task.outcome.cancel()
        elif task.limit is not None:
            task.wanted = False
            soon = asyncio.get_running_loop().time() + GRACE_S
            task.limit.reschedule(min(soon, task.limit.when() or soon))

    async def _serve(self, worker: Worker) -> None:
        """The life of one worker and of those that take its place."""
        try:
            while True:
                if not worker.ready:
                    await self._start(worker)
                elif task := await self._next(worker):
                    await self._do(worker, task)
        finally:
            await worker.end()

    async def _start(self, worker: Worker) -> None:
        try:
            await worker.start(self.first)
        except WorkerDiedError as error:
            pause = min(2.0**worker.failures, LONGEST_PAUSE_S)
            _log.error("a worker did not start (%s); the next try is in %.0f s", error, pause)
            await worker.end()
            await asyncio.sleep(pause)

    async def _next(self, worker: Worker) -> Task | None:
        """The next order; None where it was cancelled, or where the worker died meanwhile."""
        assert worker.gone is not None
        turn = asyncio.create_task(self._waiting.acquire())
        try:
            await asyncio.wait({turn, worker.gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            turn.cancel()
        if not turn.done():
            return None
        if not worker.ready:
            self._waiting.release()
            return None
        line = self.renders or self.colors
        return line.popleft() if line else None

    async def _do(self, worker: Worker, task: Task) -> None:
        """One order; afterwards its outcome is known, and the worker may be gone."""
        begun, worker.busy = time.monotonic(), True
        try:
            async with asyncio.timeout(self.settings.timeout) as task.limit:
                answer = await worker.ask(task.order, task.said)
            _settle(task, answer)
            self._time(task, time.monotonic() - begun)
        except TimeoutError:
            self.timeouts += task.wanted
            _settle(task, _failed(task, "timed_out", f"it took longer than {self._limit()}"))
            await worker.end()
        except WorkerDiedError as error:
            self.crashes += 1
            _log.error("a worker died (%s); another takes its place", error)
            await worker.end()
            if not (task.begun or task.again or task.outcome.done()):
                task.again = True  # it had died before, and nobody had noticed
                self._line(task.order).appendleft(task)
                self._waiting.release()
                return
            _settle(task, _failed(task, "worker_crashed", "the program that colours it broke down"))
        except asyncio.CancelledError:
            task.outcome.cancel()
            raise
        finally:
            worker.busy, task.limit = False, None

    def _limit(self) -> str:
        return f"{self.settings.timeout:g} seconds"

    def _time(self, task: Task, seconds: float) -> None:
        self.worked += seconds
        if isinstance(task.order, Color):
            self.seconds = MEMORY * self.seconds + (1 - MEMORY) * seconds


def _settle(task: Task, answer: Done | Failed) -> None:
    if task.outcome.done():
        return
    if isinstance(answer, Done):
        task.outcome.set_result(answer)
    else:
        task.outcome.set_exception(TaskFailedError(answer.problem))


def _failed(task: Task, code: str, message: str) -> Failed:
    hint = "try a smaller picture, or a smaller size"
    return Failed(problem=Problem(code=code, message=message, file=task.order.name, hint=hint))


def processors() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
