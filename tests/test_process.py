"""These tests are of what importing `bn` does to a process, beside fork and other thread pools."""

import os
import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import bn
import bncore

BIG = (8, 16, 64, 64)
needs_openmp = pytest.mark.skipif(not bn.show_config()["openmp"], reason="built without OpenMP")


def run(code, **environment):
    """Run code in a fresh interpreter, and return what it printed."""
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_importing_bn_leaves_the_environment_alone():
    assert run("import os; before = dict(os.environ); import bn; print(os.environ == before)") == (
        "True"
    )


def test_importing_bn_does_not_change_denormal_numbers():
    code = """
        import numpy as np, bn
        bn.batch_norm(np.ones((64, 64), np.float32), None, None, training=True)
        tiny = np.float32(1e-40)
        print(tiny > 0, tiny * np.float32(0.5) > 0)
    """
    assert run(code) == "True True"


def test_importing_bn_needs_no_extra():
    extras = {"rich", "sklearn", "matplotlib", "dask", "distributed", "h5py", "zarr"}
    assert run(f"import sys, bn, bn.nn; print({extras} & set(sys.modules))") == "set()"


SUBINTERPRETER = """
    try:
        import _interpreters as interpreters  # Python 3.13
        run, create = interpreters.exec, lambda: interpreters.create({config!r})
    except ImportError:
        import _xxsubinterpreters as interpreters
        run, create = interpreters.run_string, lambda: interpreters.create(isolated={isolated})
    CODE = 'import warnings; warnings.simplefilter("ignore"); import bn, numpy as np; ' + {code!r}
    {before}
    inner = create()
    try:
        error = run(inner, CODE)
    except Exception as raised:
        error = raised
    interpreters.destroy(inner)
    {after}
    print(error)
"""


def in_a_subinterpreter(code, before="", after="", own_lock=False):
    # From Python 3.12 on an isolated interpreter has a lock (GIL) of its own.
    kind = {"config": "isolated" if own_lock else "legacy", "isolated": own_lock}
    return run(SUBINTERPRETER.format(code=code, before=before, after=after, **kind))


@pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="without the GIL, NumPy is imported in the main interpreter only",
)
def test_a_subinterpreter_can_be_the_one_that_uses_bn():
    code = "layer = bn.BatchNorm1d(3); print(layer.backward(layer(np.ones((2000, 3)))).shape)"
    assert in_a_subinterpreter(code).splitlines() == ["(2000, 3)", "None"]


def test_a_second_interpreter_that_imports_bn_gets_an_import_error():
    use = "import bn, numpy as np; layer = bn.BatchNorm1d(3); layer(np.ones((2000, 3)))"
    error = in_a_subinterpreter("", before=use, after=use)
    assert "ImportError" in error and "one interpreter of a process only" in error


@pytest.mark.skipif(sys.version_info < (3, 12), reason="all interpreters share one lock")
def test_an_interpreter_with_a_lock_of_its_own_gets_an_import_error():
    error = in_a_subinterpreter("", own_lock=True)
    assert "ImportError" in error and "the main one or one that shares its lock" in error


@needs_openmp
def test_omp_num_threads_is_obeyed():
    assert run("import bn; print(bn.get_num_threads())", OMP_NUM_THREADS="3") == "3"


def test_other_python_threads_run_during_a_call():
    row = np.ones(4096, np.float32)
    x = np.broadcast_to(row, (1 << 16, row.size))  # the call is long and takes no memory
    count, done = 0, False

    def work():
        nonlocal count
        while not done:
            count += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        before = count
        bn.stats(x)
        during = count - before
    finally:
        done = True
        thread.join()
    assert during > 1000


@needs_openmp
@pytest.mark.parametrize("limit", [3, 8, 16])
def test_the_smaller_of_a_later_limit_and_the_number_of_threads_asked_for_wins(limit):
    bn.set_num_threads(8)
    with threadpool_limits(limit, user_api="openmp"):
        assert bn.get_num_threads() == min(limit, 8)


@needs_openmp
def test_any_number_of_threads_works():
    code = """
        import numpy as np, bn
        from threadpoolctl import threadpool_limits
        x = np.ones((16, 64, 32, 32), np.float32)
        print(bn.get_num_threads())
        layer = bn.BatchNorm2d(64)
        layer(x)
        with threadpool_limits(2**30, user_api="openmp"):
            print(bn.get_num_threads())
            layer.backward(layer(x))
    """
    assert run(code, OMP_NUM_THREADS="1073741824") == "1024\n1024"


@needs_openmp
def test_a_limit_of_threadpoolctl_is_obeyed():
    bn.set_num_threads(4)
    with threadpool_limits(1, user_api="openmp"):
        assert bn.get_num_threads() == 1
    assert bn.get_num_threads() == 4


@needs_openmp
def test_the_number_of_threads_is_what_was_asked_for():
    for n in (1, 2, 7):
        bn.set_num_threads(n)
        assert bn.get_num_threads() == bn.show_config()["threads"] == n


@needs_openmp
def test_the_number_of_threads_can_be_set_for_a_while():
    before = bn.get_num_threads()
    with bn.threads(5):
        assert bn.get_num_threads() == 5
        with bn.threads(1):
            assert bn.get_num_threads() == 1
        assert bn.get_num_threads() == 5
    assert bn.get_num_threads() == before


def blas_threads():
    return {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"}


@needs_openmp
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="BLAS has one thread here")
def test_the_number_of_threads_is_that_of_numpys_blas_too():
    bn.set_num_threads(1)
    assert blas_threads() <= {1}
    bn.set_num_threads(2)
    assert blas_threads() <= {2}
    with bn.threads(1):
        assert blas_threads() <= {1}
    assert blas_threads() <= {2}
    bn.set_num_threads(1000)
    assert all(n <= os.cpu_count() for n in blas_threads())


def test_blas_has_one_thread_until_the_last_of_several_blocks_ends():
    bn.set_num_threads(2)
    before = blas_threads()
    with bn.config.blas_on_one_thread():
        with bn.config.blas_on_one_thread():
            assert 1 in blas_threads()
        assert 1 in blas_threads()
    assert blas_threads() == before


@pytest.mark.parametrize("name", bncore.available_isas())
def test_the_environment_chooses_the_instruction_set(name):
    assert run("import bn; print(bn.show_config()['isa'])", BN_ISA=name) == name


def test_an_unknown_instruction_set_is_an_error():
    code = "import bn"
    with pytest.raises(AssertionError, match=r"BN_ISA must be one of baseline.*, got 'sse9'"):
        run(code, BN_ISA="sse9")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_computes_and_so_does_its_parent(rng):
    bn.set_num_threads(3)
    x = rng.standard_normal(BIG).astype(np.float32)
    expected = bn.stats(x)
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a hang ends here, and fails below
        same = (bn.stats(x).m2 == expected.m2).all()
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert (bn.stats(x).m2 == expected.m2).all()
