"""Eight threads do at random what the others do too; each result has the bits of a call alone.

Run as a program, it makes many calls, in a Python with or without the global interpreter lock:

    python tests/busy_threads.py 100000
"""

import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from arrays import normal

import bn
from bn import memory, nn

WORKERS = 8
SIZES = range(4, 12)  # of images: a compiled model keeps the steps of 16 layouts


def network(seed=0):
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, rng=seed),
        bn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(),
        nn.Flatten(),
        nn.Linear(16, 4, rng=seed),
    )


def images(k):
    """Return one of 24 inputs, each of its own shape or order in memory."""
    size, samples = SIZES[k % len(SIZES)], 1 + k // len(SIZES) % 3
    x = normal(samples, 3, size, size, seed=k, dtype=np.float32)
    return x if k % 2 else nn.channels_last(x)


class Shared:
    """What all threads use at the same time."""

    def __init__(self):
        self.model = network().eval()
        self.predict = bn.compile(network().eval(), (3, 8, 8))

    def calls(self):
        return [
            self._evaluate, self._predict, self._train, self._functions, self._threads,
            self._give_back, self._copy,
        ]  # fmt: skip

    def _evaluate(self, k):
        with nn.no_grad():
            return self.model(images(k))

    def _predict(self, k):
        return self.predict(images(k))

    def _train(self, k):
        model = network(k)
        optimizer = nn.Adam(model.parameters(), 0.1)
        for step in range(3):
            y = model(np.concatenate([images(k), images(k)]))
            model.backward(y - step)
            optimizer.step()
        return np.concatenate([np.ravel(a) for a in model.state_dict().values()])

    def _functions(self, k):
        x = images(k)
        y, batch = bn.normalize_batch(x)
        return bn.backward_batch(y, x, bn.merge([batch, batch]))[0]

    def _threads(self, k):
        with bn.threads(1 + k % 4):
            return bn.normalize_batch(images(k))[0]

    def _give_back(self, k):
        memory.trim()
        return nn.Softmax(1)(images(k))

    def _copy(self, k):
        state = self.model.state_dict()
        twin = network(k).eval()
        twin.load_state_dict(state)
        return twin(images(k))


def wrong_results(calls):
    """Make so many calls in eight threads; return those whose result was not that of one alone."""
    alone = Shared()
    expected = [[call(k) for k in range(24)] for call in alone.calls()]
    shared, barrier = Shared(), threading.Barrier(WORKERS)

    def work(worker):
        chance, wrong = random.Random(worker), []
        functions = shared.calls()
        barrier.wait()
        for _ in range(calls // WORKERS):
            which, k = chance.randrange(len(functions)), chance.randrange(24)
            if not np.array_equal(functions[which](k), expected[which][k]):
                wrong.append((functions[which].__name__, k))
        return wrong

    number = bn.get_num_threads()
    with ThreadPoolExecutor(WORKERS) as pool:
        wrong = [each for found in pool.map(work, range(WORKERS)) for each in found]
    bn.set_num_threads(
        number
    )  # the blocks of the threads overlap, so one of their numbers may stay
    return wrong


if __name__ == "__main__":
    found = wrong_results(int(sys.argv[1]))
    lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(f"{sys.argv[1]} calls, {len(found)} wrong {sorted(set(found))[:5]}, the lock is {lock}")
