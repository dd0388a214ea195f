"""A worker process: ``python -m coloria.web.worker``. Orders on stdin, answers on stdout.

It ends at once when stdin does: nobody is left to take the result.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from coloria.errors import OutOfMemoryError
from coloria.web.errors import problem_of
from coloria.web.orders import ORDER, Answer, Color, Done, Failed, Load, Order, Progress, Render

if TYPE_CHECKING:
    from coloria.colorizer import Colorizer

__all__ = ["main"]


class Studio:
    """Does orders; keeps the models that it has loaded.

    Args:
        device: Where they run.
        precision: How they multiply.
        most_bytes: Of memory, once the first model is loaded.
    """

    def __init__(self, device: str, precision: str, most_bytes: int) -> None:
        self.device, self.precision, self.most_bytes = device, precision, most_bytes
        self.loaded: dict[tuple[str, str], Colorizer] = {}

    def colorizer(self, model: str, weights: str) -> Colorizer:
        """Loaded once."""
        from coloria.colorizer import load

        if (model, weights) not in self.loaded:
            self.loaded[model, weights] = load(model, weights, self.device, self.precision)
        colorizer = self.loaded[model, weights]
        if colorizer.device.type == "cpu":  # drivers of a GPU set addresses aside by the terabyte
            limit_memory(self.most_bytes)
        return colorizer

    def do(self, order: Order, progress: Callable[[float], None]) -> Done:
        """One order."""
        from coloria.web import pictures

        if isinstance(order, Render):
            return pictures.render(order)
        colorizer = self.colorizer(order.model, order.weights)
        if isinstance(order, Load):
            return Done()
        progress(0.1)
        return pictures.color(order, colorizer, progress)

    def answer(self, order: Order, progress: Callable[[float], None]) -> Answer:
        """One order, whatever happens; the details of what nobody foresaw go to stderr."""
        try:
            try:
                return self.do(order, progress)
            except (MemoryError, OutOfMemoryError):
                if not self._forget_others(order):
                    raise
            return self.do(order, progress)
        except Exception as error:
            name = "" if isinstance(order, Load) else order.name
            problem = problem_of(error, name)
            deleted = isinstance(order, Color) and not Path(order.stem).parent.exists()
            if isinstance(order, Load) or (problem.code == "internal" and not deleted):
                traceback.print_exc()
            return Failed(problem=problem)

    def _forget_others(self, order: Order) -> bool:
        """Makes room by unloading the models that this order does not need; False if there are
        none.
        """
        wanted = None if isinstance(order, Render) else (order.model, order.weights)
        kept = {key: value for key, value in self.loaded.items() if key == wanted}
        fewer, self.loaded = len(kept) < len(self.loaded), kept
        return fewer


def limit_memory(most_bytes: int) -> None:
    """From now on, more is refused to this process, where the system can do so: an error that is
    told, instead of a machine that comes to a halt.
    """
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, hard))


def main() -> None:
    """Takes orders until stdin ends."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints must not stand between the answers
    device, precision, most_bytes = sys.argv[1:]
    studio = Studio(device, precision, int(most_bytes))
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, lines), daemon=True).start()
    while True:
        order = ORDER.validate_json(lines.get())
        _say(answers, studio.answer(order, lambda share: _say(answers, Progress(share=share))))


def _listen(orders: IO[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    """Reads in a thread of its own, so that the end is noticed in the midst of a picture."""
    for line in orders:
        lines.put(line)
    os._exit(0)


def _say(answers: IO[bytes], answer: Answer) -> None:
    answers.write(answer.model_dump_json().encode() + b"\n")


if __name__ == "__main__":
    main()
