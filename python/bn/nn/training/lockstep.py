"""Parts of a batch that go through a model side by side, and meet at each batch normalization.

Each part has a thread of its own, because a forward pass can only wait in the middle if its calls
stay on a stack. One thread runs at a time, always in the same order: the first part until its first
batch normalization, then the second one, and so on. The last part to arrive merges the statistics
of all, and the first one goes on with them. Nothing therefore depends on which thread is faster:
gradients are added in the same order each time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import Any

from bn import _check
from bn.functional import merge
from bn.layers.batch_norm import BatchNorm
from bn.layers.running_stats import no_stat_update


class Abandoned(BaseException):
    """Another part failed, so this one ends."""


class Meeting:
    """Functions that run in turns, and merge what they bring.

    Parameters
    ----------
    count : int
        The number of functions.

    Examples
    --------
    >>> from bn import stats
    >>> import numpy as np
    >>> meeting = Meeting(2)
    >>> def part(x):
    ...     return meeting.combine("layer", stats(x)).mean
    >>> meeting.run([lambda: part(np.zeros((2, 1))), lambda: part(np.ones((2, 1)))])
    [array([0.5]), array([0.5])]
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._condition = threading.Condition()
        self._turn = 0
        self._numbers: dict[int, int] = {}  # of the parts, by their threads
        self._brought: list[tuple[str, Any]] = []  # by those that have arrived
        self._merged: Any = None
        self._error: BaseException | None = None

    def run(self, functions: Sequence[Callable[[], Any]]) -> list[Any]:
        """The results of the functions; the first error of one of them ends all."""
        results: list[Any] = [None] * self.count
        self._turn, self._brought, self._error = 0, [], None
        threads = [
            threading.Thread(target=copy_context().run, args=(self._part, i, function, results))
            for i, function in enumerate(functions)
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException as error:  # Ctrl-C while it waits
            self._abandon(error)
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            raise
        if self._error is not None:
            raise self._error
        return results

    def combine(self, path: str, own: Any) -> Any:
        """Bring the statistics or sums of a part; get those of all parts."""
        number = self._numbers[threading.get_ident()]
        expected = number  # those of the parts before this one are here
        if len(self._brought) != expected or any(path != other for other, _ in self._brought):
            _check.same_way(path)
        self._brought.append((path, own))
        if len(self._brought) == self.count:
            self._merged = merge([each for _, each in self._brought])
            self._brought = []
        self._pass_on(number)
        self._wait_for(number)
        return self._merged

    def _part(self, number: int, function: Callable[[], Any], results: list[Any]) -> None:
        try:
            self._numbers[threading.get_ident()] = number
            self._wait_for(number)
            results[number] = function()
            if self._brought:  # others wait at a place where this one never came
                _check.same_way(self._brought[0][0])
            self._pass_on(number)
        except Abandoned:
            pass
        except BaseException as error:
            self._abandon(error)

    def _pass_on(self, number: int) -> None:
        with self._condition:
            self._turn = (number + 1) % self.count
            self._condition.notify_all()

    def _wait_for(self, number: int) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._turn == number or self._error is not None)
            if self._error is not None:
                raise Abandoned

    def _abandon(self, error: BaseException) -> None:
        with self._condition:
            if self._error is None:
                self._error = error
            self._condition.notify_all()


@contextmanager
def meeting_at(layers: Sequence[tuple[str, BatchNorm]], count: int) -> Iterator[Meeting]:
    """Within it, these batch normalizations merge the statistics of so many parts of a batch."""
    meeting = Meeting(count)
    try:
        for path, layer in layers:
            layer.combine = partial(meeting.combine, path)
        yield meeting
    finally:
        for _, layer in layers:
            layer.combine = None


def counted_once(number: int, function: Callable[[], Any]) -> Callable[[], Any]:
    """A part's function, which updates running statistics only if it is the first part's.

    All parts have the merged statistics; these enter once, as those of one batch.
    """
    if number == 0:
        return function

    def without_update() -> Any:
        with no_stat_update():
            return function()

    return without_update
