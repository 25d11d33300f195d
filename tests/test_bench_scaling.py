"""The benchmark of several ranks counts what they send, and its model finds what it was made of."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mpiexec import needs_mpi

import bn

BENCH = Path(__file__).parents[1] / "bench"
pytestmark = pytest.mark.skipif(not BENCH.exists(), reason="bench/ is not here")


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    threads = bn.get_num_threads()
    yield
    bn.set_num_threads(threads)


# ---- transports ----


def test_messages_and_bytes_are_counted():
    from transports import Copies, Counting

    comm = Counting(Copies(5))
    layer = bn.synchronize(bn.BatchNorm1d(2048), comm)
    x = np.random.default_rng(0).standard_normal((20, 2048), np.float32)
    layer(x)
    header, block = 32, 4096
    assert comm.messages == 2  # the block, and what does not fit into it
    assert comm.sent == header + 3 * 2048 * 8 > block
    assert comm.received == 4 * comm.sent
    layer.backward(x)
    assert (comm.messages, comm.sent) == (4, 2 * header + 5 * 2048 * 8)


def test_a_rank_alone_sends_nothing():
    from transports import Copies, Counting

    comm = Counting(Copies(1))
    comm.allgather(np.zeros(3), 60)
    assert comm.messages == comm.sent == comm.received == 0


def test_a_late_transport_takes_longer():
    from transports import Copies, Late

    begin = time.perf_counter()
    rows = Late(Copies(2), 2e-3).allgather(np.arange(3), 60)
    assert time.perf_counter() - begin >= 2e-3
    assert (rows == [[0, 1, 2], [0, 1, 2]]).all()


# ---- the model ----


def steps():
    """Return steps of a machine whose exchanges take 50 us, and 2 ns for each byte."""
    from cost_model import Measured

    found = []
    for apart, messages, received in ((0.2, 46, 1e6), (1e-3, 2, 8192), (1e-2, 4, 3e6)):
        for delay in (0.0, 1e-4, 1e-3):
            seconds = 1.2 * apart + messages * (50e-6 + delay) + received * 2e-9
            found.append(Measured("step", seconds, apart, messages, received, delay))
    return found


def test_the_fit_finds_what_steps_are_made_of():
    import cost_model

    model = cost_model.fit(steps())
    found = model.compute, model.latency, model.per_byte
    np.testing.assert_allclose(found, (1.2, 50e-6, 2e-9), rtol=1e-6)
    late = replace(steps()[0], seconds=0.2422 + 46 * 1e-2 + 46 * 50e-6 - 0.0002, delay=1e-2)
    assert model.error(late) == pytest.approx(0, abs=1e-9)
    assert model.error(replace(late, seconds=late.seconds / 2)) == pytest.approx(1)


def paper(ranks_merged=0.0):
    from cost_model import Exchanges, Network, Paper

    statistics = Exchanges(messages=10, sent=1000, per_rank=ranks_merged)
    gradients = Exchanges(messages=2, sent=1e6, per_rank=0)
    return Paper(0.09, 0.0, statistics, gradients, Network("slow", 1e-4, 1e-6))


def test_on_paper_a_rank_gets_what_all_others_send():
    assert paper().exchanged(paper().gradients, 2) == pytest.approx(2 * 1e-4 + 1.0)
    assert paper().exchanged(paper().gradients, 64) == pytest.approx(2 * 6 * 1e-4 + 63.0)


def test_a_ring_of_two_ranks_takes_as_long_and_one_of_more_does_not():
    assert paper().ring(2) == pytest.approx(1.0, rel=1e-3)
    assert paper().ring(64) == pytest.approx(2 * 63 / 64, rel=0.01)


def test_the_largest_group_is_the_last_whose_statistics_are_worth_their_time():
    assert paper().largest_group() == 4  # 2 + 3 ms of the 9 that may be; 8 ranks take 3 + 7
    assert paper(1e-3).largest_group() == 4
    assert paper(5e-3).largest_group() == 2


# ---- the command ----


@needs_mpi
def test_the_command_tells_all_and_draws_it(tmp_path):
    import scaling_report

    pytest.importorskip("matplotlib")
    file, picture = tmp_path / "result.json", tmp_path / "scaling.png"
    command = [sys.executable, BENCH / "scaling.py", "--quick"]
    done = subprocess.run(
        [*command, "--json", file, "--picture", picture],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    for text in ("weak", "strong", "predicted", "fitted:", "on paper, 10 Gbit/s", "in groups of"):
        assert text in done.stdout
    assert picture.stat().st_size > 1000
    result = json.loads(file.read_text())
    network, layer = (
        next(row for row in scaling_report.rows(result) if row.ranks == 2 and name in row.what)
        for name in ("conv", "layer")
    )
    assert (layer.messages, layer.sent, layer.received) == (2, 2 * 4096, 2 * 4096)
    assert network.messages == 6  # two of the layer, which flags, two of gradients, the loss
    for step in scaling_report.steps(result):
        assert step.seconds > step.messages * step.delay
        assert step.messages == (5 if "gradients only" in step.name else step.messages)


def test_the_overhead_of_fit_is_measured_over_the_same_steps(monkeypatch, capsys):
    import fit_overhead

    model, data = fit_overhead.mlp()
    small = tuple(each[:256] for each in data)
    monkeypatch.setattr(fit_overhead, "resnet20", lambda: (model, small))
    monkeypatch.setattr(fit_overhead, "mlp", lambda: (model, small))
    fit_overhead.main(["--repeat", "1"])
    printed = capsys.readouterr().out
    assert "over the loop with accuracy\nResNet-20 " in printed and "\nMLP, 784-128-10 " in printed
    before = model[1].num_batches_tracked.copy()
    for run in fit_overhead.ways(model, small).values():
        run()
    assert model[1].num_batches_tracked - before == 3 * 4
