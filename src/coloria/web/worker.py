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
from typing import IO, TYPE_CHECKING

from coloria.web.errors import problem_of
from coloria.web.orders import ORDER, Answer, Done, Failed, Load, Order, Progress, Render

if TYPE_CHECKING:
    from coloria.colorizer import Colorizer

__all__ = ["main"]


class Studio:
    """Does orders; keeps the models that it has loaded."""

    def __init__(self, device: str, precision: str) -> None:
        self.device, self.precision = device, precision
        self.loaded: dict[tuple[str, str], Colorizer] = {}

    def colorizer(self, model: str, weights: str) -> Colorizer:
        """Loaded once."""
        from coloria.colorizer import load

        if (model, weights) not in self.loaded:
            self.loaded[model, weights] = load(model, weights, self.device, self.precision)
        return self.loaded[model, weights]

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
            return self.do(order, progress)
        except Exception as error:
            name = "" if isinstance(order, Load) else order.name
            problem = problem_of(error, name)
            if problem.code == "internal" or isinstance(order, Load):
                traceback.print_exc()
            return Failed(problem=problem)


def main() -> None:
    """Takes orders until stdin ends."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints must not stand between the answers
    studio = Studio(*sys.argv[1:3])
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
