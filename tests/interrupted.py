"""Calls are interrupted here: at every place where Python may do so, or by SIGINT.

Run as a program, it sends many signals at random moments of forward passes and counts what breaks:

    python tests/interrupted.py 10000
"""

import dis
import gc
import itertools
import random
import signal
import sys
import warnings

import numpy as np
from arrays import same_state, state

import bn
from bn import nn

INTERRUPTIBLE = {
    code for name, code in dis.opmap.items() if name.startswith(("CALL", "JUMP_BACK", "JUMP_ABS"))
}
X = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)


def wherever_a_signal_may_come(call, error=KeyboardInterrupt, prepare=lambda: None, every=1):
    """Run `call` again and again, raising `error` at a later one of its places each time.

    Python looks for signals when a function begins and after calls and jumps. Yields after each
    interrupted call how many such places it got past, until a call ends without an interrupt. With
    `every`, only each such place is tried, because the time is the square of their number.
    """
    for count in itertools.count(0, every):
        prepare()
        try:
            _raise_after(count, call, error)
        except error:
            yield count
        else:
            return


def _raise_after(count, call, error):
    last = {}  # it maps a frame to the instruction that has just run

    def trace(frame, event, arg):
        nonlocal count
        if not frame.f_globals.get("__name__", "").startswith("bn"):
            return None  # NumPy and the standard library are not ours to make safe
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "call" or (event == "opcode" and last.get(frame) in INTERRUPTIBLE):
            count -= 1
            if count < 0:
                sys.settrace(None)
                raise error
        if event == "opcode":
            last[frame] = frame.f_code.co_code[frame.f_lasti]
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)


def three_layers():
    model = nn.Sequential(
        nn.Linear(3, 3, rng=0),
        bn.BatchNorm1d(3),
        nn.Residual(nn.Sequential(bn.BatchNormalization(renorm=True), nn.ReLU())),
        bn.BatchNorm1d(3),
    )
    model.build((3,))
    return model


def whole(layer):
    """Tell whether a layer's statistics are those after as many batches as it counts."""
    twin = bn.BatchNorm1d(3)
    for _ in range(int(layer.num_batches_tracked)):
        twin(X)
    return same_state(state(layer), state(twin))


def storm(signals, seconds=2e-4):
    """Count interrupts, containers left between two batches, and layers left in pieces.

    Without the collector: Python ignores, and reports, what a signal raises in its callbacks.
    """
    handler = signal.signal(signal.SIGALRM, signal.default_int_handler)
    gc.disable()
    try:
        return _storm(signals, seconds)
    finally:
        gc.enable()
        signal.signal(signal.SIGALRM, handler)


def _storm(signals, seconds):
    chance = random.Random(0)
    interrupted = between = broken = 0
    while interrupted < signals:
        model, layer = three_layers(), bn.BatchNorm1d(3)
        model(X)
        before = state(model)
        after = three_layers()
        after(X), after(X)
        try:
            # Again after a second, in case that the first one came where Python ignores it.
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-6, seconds), 1)
            while True:
                model(X)
                nn.Sequential.load_state_dict(model, before)
                layer(X)
        except KeyboardInterrupt:
            signal.setitimer(signal.ITIMER_REAL, 0)
            interrupted += 1
        found = state(model)
        between += not (same_state(found, before) or same_state(found, state(after)))
        broken += not whole(layer)
    return interrupted, between, broken


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    signals, between, broken = storm(int(sys.argv[1]))
    print(f"{signals} signals, {between} containers between two batches, {broken} layers in pieces")
