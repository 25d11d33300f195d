"""Processes that are forked while other threads compute."""

import os
import signal
import threading


def fork_amid(churn, threads, times, good):
    """Fork while threads call `churn` again and again; in each child, `good` must return True."""
    stop = threading.Event()

    def go_on():
        while not stop.is_set():
            churn()

    running = [threading.Thread(target=go_on) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        for _ in range(times):
            child = os.fork()
            if child == 0:
                signal.alarm(30)  # a hang ends here, and fails below
                os._exit(0 if good() else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        for thread in running:
            thread.join()
