"""The benchmark measures what it says, notices a wrong result, and reports everything."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import bn

BENCH = Path(__file__).parents[1] / "bench"
pytestmark = pytest.mark.skipif(not BENCH.exists(), reason="bench/ is not here")


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)


def small_data(layout="first", dtype="float32"):
    import cases

    return cases.make(cases.Case("test", (6, 5, 4, 3), dtype, False), layout)


def our_results(data):
    y, batch = bn.normalize_batch(data.x, data.weight, data.bias, axis=data.axis)
    dx, sums = bn.backward_batch(data.dy, data.x, batch, data.weight, axis=data.axis)
    running = (data.running_mean, data.running_var, data.weight, data.bias)
    fused = {"axis": data.axis, "activation": "relu"}
    summed, _ = bn.normalize_batch(data.x, data.weight, data.bias, residual=data.residual, **fused)
    g = np.empty_like(dx)
    fused_dx, fused_sums = bn.backward_batch(
        data.dy, data.x, batch, data.weight, y=data.residual, dresidual=g, **fused
    )
    return {
        "forward": (y,),
        "backward": (dx, sums.dweight(batch.var), sums.dbias),
        "fused forward": (summed,),
        "fused backward": (fused_dx, fused_sums.dweight(batch.var), fused_sums.dbias, g),
        "eval": (bn.normalize(data.x, *running, axis=data.axis),),
        "copy": (data.x.copy(),),
    }


def canned_result():
    """Two tensors are measured; bn takes 2 ms, or 1 into `out`, and all else is listed."""
    names = ["one 32x64 float32", "two 64x64x64x64 float32"]
    sizes = [32 * 64 * 4, 64**4 * 4]
    times = [  # a row is: contestant, column, layout, op, ms
        ("bn", "plain", "first", "forward", 2.0),
        ("bn", "tuned", "first", "forward", 1.0),
        ("bn, 1 thread", "plain", "first", "forward", 3.0),
        ("memcpy", "plain", "first", "copy, 1 thread", 5.0),
        ("memcpy", "plain", "first", "copy, PyTorch's copy_", 4.0),
        ("PyTorch", "plain", "first", "forward", 8.0),
        ("PyTorch", "tuned", "first", "forward", 0.5),
        ("PyTorch", "plain", "last", "forward", 6.0),
        ("JAX", "plain", "first", "forward", 12.0),
        ("JAX", "plain", "last", "forward", 10.0),
    ]
    keys = ("contestant", "column", "layout", "op", "median")
    return {
        "machine": {
            "cpu": "a processor", "cores": 2, "threads": 2, "last_level_cache": 32 << 20,
            "load": 0.0, "others": 0.4, "date": "2026-01-01T00:00:00", "versions": {"numpy": "2.0"},
            "bn": {"version": "1", "isa": "baseline"},
        },
        "cases": [
            {"name": name, "family": name[:3], "dtype": "float32", "nbytes": nbytes}
            for name, nbytes in zip(names, sizes, strict=True)
        ],
        "times": [
            {"case": name, **dict(zip(keys, time, strict=True)), "off": 1e-7}
            for name in names
            for time in times
        ],
        "problems": {names[0]: {"TensorFlow, plain": "is wrong"}},
        "missing": {"ONNX Runtime": "not installed"},
    }  # fmt: skip


def test_every_shape_of_the_file_is_a_tensor_with_enough_values():
    import cases

    found = cases.read()
    assert len({case.name for case in found}) == len(found) > 40
    for case in found:
        assert len(case.shape) >= 2
        assert case.nbytes // case.shape[1] > np.dtype("float64").itemsize
        assert case.dtype in ("float32", "float64", "bfloat16")


def test_shapes_are_chosen_by_a_pattern_and_by_quick():
    import cases

    found = cases.read()
    assert {c.family for c in cases.chosen(found, "^resnet50", quick=False)} == {"resnet50"}
    quick = cases.chosen(found, "", quick=True)
    assert 0 < len(quick) < len(found)
    assert all(case.quick for case in quick)


def test_both_layouts_of_a_shape_hold_the_same_numbers():
    first, last = small_data("first"), small_data("last")
    np.testing.assert_array_equal(np.moveaxis(last.x, -1, 1), first.x)
    np.testing.assert_array_equal(np.moveaxis(last.dy, -1, 1), first.dy)
    assert last.x.flags.c_contiguous


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_right_results_pass_the_verification(layout, dtype):
    import verify

    data = small_data(layout, dtype)
    verifier = verify.Verifier(data)
    for op, arrays in our_results(data).items():
        assert verifier.check(op, arrays, 1e-5) < 1e-5


@pytest.mark.parametrize(
    "op", ["forward", "backward", "eval", "copy", "fused forward", "fused backward"]
)
def test_any_wrong_array_fails_the_verification(op):
    import verify

    data = small_data()
    verifier, right = verify.Verifier(data), our_results(data)[op]
    for i, array in enumerate(right):
        for wrong in (array * 1.01, array + 1, np.full_like(array, np.nan), array[:-1]):
            with pytest.raises(verify.WrongResultError, match=op):
                verifier.check(op, (*right[:i], wrong, *right[i + 1 :]), 1e-3)


def test_numpy_lines_and_bn_pass_as_contestants():
    import peers
    import verify

    for layout in ("first", "last"):
        data = small_data(layout)
        verifier = verify.Verifier(data)
        for name, tuned in (("bn", False), ("bn", True), ("numpy", False)):
            peer = peers.load(name)(bn.get_num_threads(), tuned)
            for op, call in peer.calls(data).items():
                verifier.check(op, peer.arrays(op, call(), data), peer.tolerance["float32"])


def test_a_row_takes_the_fastest_copy_and_each_peers_best_layout():
    import report

    row, larger = report.rows(canned_result())
    assert (row.group, larger.group) == ("small", "beyond")
    assert (row.memcpy, row.memcpy_by) == (4.0, "PyTorch's copy_")
    assert (row.to_memcpy(), row.to_memcpy("tuned")) == (0.5, 0.25)
    assert (row.lead("PyTorch"), row.lead("PyTorch cl"), row.lead("JAX")) == (4.0, 3.0, 5.0)
    assert report.better_pytorch(row) == 3.0
    assert (row.fastest(), row.fastest("tuned")) == (("PyTorch cl", 3.0), ("PyTorch", 0.5))


def test_rows_that_are_slower_than_a_peer_are_found_and_named():
    import report

    rows = report.rows(canned_result())
    assert report.behind(rows) == []
    assert [(ratio, peer) for ratio, peer, _ in report.behind(rows, "tuned")] == 2 * [
        (0.5, "PyTorch")
    ]
    assert report.extreme(rows, report.Row.to_memcpy, largest=True) == (0.5, rows[1].name)


def test_fused_operations_are_compared_with_the_plain_ones():
    import report

    result = canned_result()
    mine = [r for r in result["times"] if (r["contestant"], r["column"]) == ("bn", "plain")]
    result["times"] += [{**r, "op": "fused forward", "median": 3.0} for r in mine]
    ratios = [ratio for ratio, _ in report.fused_over_plain(report.rows(result), "forward")]
    assert ratios == [1.5, 1.5]
    assert report.fused_over_plain(report.rows(result), "backward") == []


def test_the_geometric_mean_leaves_out_what_is_not_known():
    import report

    assert report.geometric_mean([1.0, None, 4.0]) == pytest.approx(2.0)
    assert report.geometric_mean([None]) is None


def test_the_tables_of_a_benchmark_tell_everything(capsys):
    import tables

    tables.show(canned_result())
    printed = capsys.readouterr().out
    for text in (
        "a processor",
        "other processes used 40% of the CPU time: DO NOT TRUST",
        "PyTorch cl ahead",
        "ahead of the fastest peer in 2 of 2 rows",
        "ahead of the fastest peer in 0 of 2 rows, behind in",
        "ONNX Runtime: not installed",
        "TensorFlow, plain: is wrong",
    ):
        assert text in printed


def test_the_columns_of_a_plain_table_are_aligned():
    import tables

    assert tables.plain("t", [["a", "b"], ["long", "1"]]) == "t\na     b\nlong  1"


def test_the_picture_of_a_benchmark_is_written(tmp_path):
    pytest.importorskip("matplotlib")
    import picture

    picture.draw(canned_result(), tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_wrong_option_of_a_benchmark_is_named():
    import kernels

    with pytest.raises(SystemExit):
        kernels.arguments(["--peers", "nobody"])
    with pytest.raises(SystemExit):
        kernels.arguments(["--shapes", "nothing like this"])
    options = kernels.arguments(["--peers", "jax", "--shapes", "32x64x56x56 float32"])
    assert options.peers == ["memcpy", "bn", "jax"]
    assert [dataclasses.astuple(case)[1] for case in options.cases] == [(32, 64, 56, 56)]
