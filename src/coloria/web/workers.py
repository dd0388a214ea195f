"""One process that does orders: started, asked and ended from here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence

from coloria.errors import ColoriaError
from coloria.web.orders import ANSWER, Done, Failed, Load, Order, Progress

__all__ = ["Worker", "WorkerDiedError"]

LINE_BYTES = 1 << 20
"""Longest answer."""

START_S = 300.0
"""Longest it may take until its first model is loaded."""


class WorkerDiedError(ColoriaError):
    """The process is no longer there."""


class Worker:
    """A place for a process; whoever asks a dead one starts it again first.

    Args:
        command: What is run.
        environment: Its variables.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.command, self.environment = command, environment
        self.process: asyncio.subprocess.Process | None = None
        self.gone: asyncio.Task[int] | None = None
        """Finished when the process is."""
        self.loaded = self.busy = False
        self.failures = 0
        """Starts that led to nothing, one after the other."""

    @property
    def ready(self) -> bool:
        """Whether it can be asked."""
        alive = self.process is not None and self.process.returncode is None
        return self.loaded and alive

    async def start(self, first: Load) -> None:
        """A new process, with its first model loaded.

        Raises:
            WorkerDiedError: It did not come that far.
        """
        await self.end()
        self.process = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=dict(self.environment),
            limit=LINE_BYTES,
            start_new_session=True,  # Ctrl-C in a terminal is for the server alone
        )
        self.gone = asyncio.create_task(self.process.wait())
        self.failures += 1
        try:
            async with asyncio.timeout(START_S):
                answer = await self.ask(first, lambda share: None)
        except TimeoutError as error:
            raise WorkerDiedError(f"not ready after {START_S:.0f} s") from error
        if isinstance(answer, Failed):
            raise WorkerDiedError(answer.problem.message)
        self.failures, self.loaded = 0, True

    async def ask(self, order: Order, progress: Callable[[float], None]) -> Done | Failed:
        """Its answer to an order.

        Raises:
            WorkerDiedError: The process ended before it answered.
        """
        process = self.process
        if process is None or process.stdin is None or process.stdout is None:
            raise WorkerDiedError("it was not started")
        try:
            process.stdin.write(order.model_dump_json().encode() + b"\n")
            await process.stdin.drain()
            while line := await process.stdout.readline():
                answer = ANSWER.validate_json(line)
                if not isinstance(answer, Progress):
                    return answer
                progress(answer.share)
        except (ConnectionError, ValueError) as error:
            raise WorkerDiedError(str(error) or type(error).__name__) from error
        raise WorkerDiedError(f"its exit code is {await process.wait()}")

    async def end(self) -> None:
        """No process, whatever it is doing."""
        self.loaded = self.busy = False
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
            self.process = None
