"""Ghost batches are parts of a batch; chunks are together one batch."""

import subprocess
import sys

import numpy as np
import pytest
from gradcheck import gradcheck

import bn

X = np.random.default_rng(5).standard_normal((21, 3, 4)) + 2


# ---- ghost batches ----


@pytest.mark.parametrize("size", [4, 7, 21, 100])
def test_each_ghost_batch_is_normalized_by_itself(size):
    y = bn.GhostBatchNorm(bn.BatchNorm1d(3, dtype="f8"), size)(X)
    for k in range(0, 21, size):
        np.testing.assert_array_equal(
            y[k : k + size], bn.BatchNorm1d(3, dtype="f8")(X[k : k + size])
        )


def test_the_running_statistics_of_ghost_batches_are_those_of_the_whole_batch():
    ghost, whole = (
        bn.GhostBatchNorm(bn.BatchNorm1d(3, dtype="f8"), 4),
        bn.BatchNorm1d(3, dtype="f8"),
    )
    ghost(X)
    whole(X)
    np.testing.assert_allclose(ghost.layer.running_var, whole.running_var, rtol=1e-12)
    assert ghost.layer.num_batches_tracked == 1


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("axis", [1, -1])
def test_the_gradients_of_ghost_batches_are_exact(training, affine, axis, rng):
    layer = bn.BatchNorm1d(3, affine=affine, axis=axis, dtype="f8")
    x = rng.standard_normal((7, 3, 2) if axis == 1 else (7, 2, 3))
    gradcheck(bn.GhostBatchNorm(layer, 3).train(training), x, tol=1e-5)


def test_a_ghost_batch_norm_in_eval_mode_is_its_layer():
    ghost = bn.GhostBatchNorm(bn.BatchNorm1d(3), 4).eval()
    np.testing.assert_array_equal(ghost(X), bn.BatchNorm1d(3).eval()(X))
    assert "virtual_batch_size=4" not in repr(ghost.layer)


def test_a_single_value_that_remains_joins_the_ghost_batch_before():
    x = X[:9, :, 0]
    y = bn.GhostBatchNorm(bn.BatchNorm1d(3, dtype="f8"), 4)(x)
    np.testing.assert_array_equal(y[4:], bn.BatchNorm1d(3, dtype="f8")(x[4:]))


def test_ghost_batches_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="virtual_batch_size must be a positive integer, got 0"):
        bn.GhostBatchNorm(bn.BatchNorm1d(3), 0)
    with pytest.raises(TypeError, match="layer must be of type BatchNorm, got Sequential"):
        bn.GhostBatchNorm(bn.nn.Sequential(), 4)
    for layer in (bn.BatchNormalization(renorm=True), bn.preset("darknet", 3)):
        with pytest.raises(
            ValueError,
            match=r"GhostBatchNorm must get a layer whose output .* got one with batch renorm",
        ):
            bn.GhostBatchNorm(layer, 4)
        with pytest.raises(
            ValueError,
            match=r"accumulate must get a layer whose output .* got one with batch renorm",
        ):
            bn.accumulate(layer)
    with pytest.raises(
        ValueError, match="GhostBatchNorm cuts axis 0, which must not be the channel"
    ):
        bn.GhostBatchNorm(bn.BatchNorm1d(21, axis=0), 4)(X)
    layer = bn.GhostBatchNorm(bn.BatchNorm1d(3), 1)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        layer(X[:, :, 0])
    assert layer.layer.num_batches_tracked == 0
    mask = np.ones((21, 4), bool)
    with pytest.raises(TypeError, match="GhostBatchNorm takes no argument 'mask'"):
        layer(X, mask=mask)
    with pytest.raises(TypeError, match="unexpected keyword argument 'mask'"):
        bn.accumulate(bn.BatchNorm1d(3)).add(X, mask=mask)


# ---- chunks of one batch ----


def cut(array, *at):
    return np.split(array, at)


@pytest.mark.parametrize("at", [(), (1,), (5, 6, 20), (0, 10, 10)])
@pytest.mark.parametrize(
    "make",
    [lambda: bn.BatchNorm1d(3, dtype="f8"), lambda: bn.BatchNormalization(axis=1, dtype="f8")],
)
def test_accumulated_chunks_equal_the_whole_batch(make, at, rng):
    dy = rng.standard_normal(X.shape)
    whole, layer = make(), make()
    y, dx = whole(X), whole.backward(dy)
    steps = bn.accumulate(layer)
    for x in cut(X, *at):
        steps.add(x)
    found = np.concatenate([steps.normalize(x) for x in cut(X, *at)])
    np.testing.assert_allclose(found, y, atol=1e-12)
    pairs = list(zip(cut(dy, *at), cut(X, *at), strict=True))
    for pair in pairs:
        steps.reduce(*pair)
    found = np.concatenate([steps.apply(*pair) for pair in pairs])
    np.testing.assert_allclose(found, dx, atol=1e-12)
    for name, array in layer.named_state():
        np.testing.assert_allclose(array, dict(whole.named_state())[name], rtol=1e-12, err_msg=name)
    for p, q in zip(layer.parameters(), whole.parameters(), strict=True):
        np.testing.assert_allclose(p.grad, q.grad, rtol=1e-12)


def test_passes_over_chunks_that_come_too_early_or_do_not_match_are_refused():
    steps = bn.accumulate(bn.BatchNorm1d(3))
    with pytest.raises(RuntimeError, match="normalize comes after all chunks went through add"):
        steps.normalize(X)
    with pytest.raises(RuntimeError, match="apply comes after all chunks went through reduce"):
        steps.apply(X, X)
    steps.add(X[:10])
    steps.add(X[10:])
    steps.normalize(X[:10])
    with pytest.raises(RuntimeError, match="add must come before normalize, which has begun"):
        steps.add(X)
    with pytest.raises(
        RuntimeError, match=r"reduce comes after all .* normalize: 44 values of a ch"
    ):
        steps.reduce(X, X)
    with pytest.raises(ValueError, match="normalize must get the chunks that add got, and has 44"):
        steps.normalize(X[:12])
    steps.normalize(X[10:])
    with pytest.raises(RuntimeError, match="add must come before normalize, which"):
        steps.add(X)
    single = bn.accumulate(bn.BatchNorm1d(3))
    single.add(X[:1, :, 0])
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        single.normalize(X[:1, :, 0])


def test_a_chunk_that_is_refused_does_not_count():
    steps = bn.accumulate(bn.BatchNorm1d(3, dtype="f8"))
    with pytest.raises(RuntimeError, match="a batch has statistics after its first chunk"):
        _ = steps.batch
    steps.add(X)
    with pytest.raises(ValueError, match="out must have shape"):
        steps.normalize(X, out=np.empty(3))
    steps.normalize(X)
    with pytest.raises(ValueError, match="dy must have shape"):
        steps.reduce(X[:2], X)
    steps.reduce(X, X)
    with pytest.raises(ValueError, match="dy must have shape"):
        steps.apply(X[:2], X)
    whole = bn.BatchNorm1d(3, dtype="f8")
    whole(X)
    np.testing.assert_allclose(steps.apply(X, X), whole.backward(X), atol=1e-12)
    np.testing.assert_allclose(steps.layer.weight.grad, whole.weight.grad, rtol=1e-12)


def test_an_error_after_a_ghost_batch_that_was_not_let_in_undoes_nothing():
    ghost = bn.GhostBatchNorm(bn.BatchNorm1d(3), 4)
    model = bn.nn.Sequential(ghost, bn.nn.Linear(7, 2))
    ghost(X)
    before = ghost.layer.state_dict()
    with bn.no_stat_update(), pytest.raises(ValueError, match="7 features"):
        model(X)
    np.testing.assert_array_equal(ghost.layer.running_mean, before["running_mean"])


MEMORY = """
import resource, sys
import numpy as np
import bn
path, rows = sys.argv[1], 3_000_000
x = np.lib.format.open_memmap(path, "w+", np.float32, (rows, 32))
rng = np.random.default_rng(0)
for k in range(0, rows, 100_000):
    x[k : k + 100_000] = rng.standard_normal((100_000, 32), np.float32) + np.arange(32)
x.flush()
del x
data = [int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmData")][0] * 1024
resource.setrlimit(resource.RLIMIT_DATA, (data + 2**27, data + 2**27))  # 128 MiB more than now
x = np.load(path, mmap_mode="r")  # 384 MB
try:
    np.array(x)
except MemoryError:
    pass
else:
    sys.exit("the file fits into the memory allowed")
y = np.load(path, mmap_mode="r+")
layer = bn.BatchNorm1d(32)
steps, cuts = bn.accumulate(layer), range(0, rows, 100_000)
for k in cuts:
    steps.add(np.asarray(x[k : k + 100_000]))
for k in cuts:
    chunk = np.asarray(y[k : k + 100_000])
    steps.normalize(chunk, out=chunk)
column = y[:, 5].astype(float)
print(*steps.batch.mean[:3].round(2), column.mean().round(3) + 0.0, column.std().round(3))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_DATA and /proc")
def test_a_file_larger_than_the_memory_allowed_is_normalized_in_chunks(tmp_path):
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "x.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [float(word) for word in done.stdout.split()] == [0, 1, 2, 0, 1]
