"""Tensors of PyTorch and arrays of JAX are taken as NumPy's, and read where they are."""

import sys

import ml_dtypes
import numpy as np
import pytest

import bn
from bn import nn
from bn.arrays import numpy_argument

pytestmark = pytest.mark.parity

ROWS = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)


@pytest.fixture
def jax():
    return pytest.importorskip("jax")


def test_a_tensor_is_read_where_it_is(torch):
    tensor = torch.from_numpy(ROWS)
    found = numpy_argument("x", tensor)
    assert found.__array_interface__["data"] == (tensor.data_ptr(), True)
    np.testing.assert_array_equal(bn.stats(tensor).m2, bn.stats(ROWS).m2)


def test_a_tensor_with_gaps_or_with_channels_last_is_read_where_it_is(torch):
    whole = torch.arange(2 * 3 * 4 * 6, dtype=torch.float32).reshape(2, 3, 4, 6)
    for tensor in (whole[:, :, ::2, 1:5], whole.to(memory_format=torch.channels_last)):
        found = numpy_argument("x", tensor)
        assert found.__array_interface__["data"][0] == tensor.data_ptr()
        assert found.strides == tuple(4 * s for s in tensor.stride())
        np.testing.assert_array_equal(bn.BatchNorm2d(3)(tensor), bn.BatchNorm2d(3)(found))


def test_an_array_of_jax_is_read_where_it_is_and_results_are_new(jax):
    array = jax.numpy.asarray(ROWS)
    found = numpy_argument("x", array)
    assert found.__array_interface__["data"] == (array.unsafe_buffer_pointer(), True)
    y, batch = bn.normalize_batch(array)
    assert type(y) is np.ndarray and y.flags.writeable
    np.testing.assert_array_equal(batch.mean, bn.stats(ROWS).mean)


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_bfloat16_keeps_its_bits(name, request):
    library = request.getfixturevalue(name)
    expected = ROWS.astype(ml_dtypes.bfloat16)
    x = library.numpy.asarray(expected) if name == "jax" else library.tensor(ROWS).bfloat16()
    found = numpy_argument("x", x)
    assert found.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(found.view(np.uint16), expected.view(np.uint16))
    y = bn.normalize_batch(x)[0]
    np.testing.assert_array_equal(
        y.view(np.uint16), bn.normalize_batch(expected)[0].view(np.uint16)
    )


def test_a_tensor_of_bfloat16_is_read_where_it_is(torch):
    x = torch.from_numpy(ROWS).bfloat16()
    assert numpy_argument("x", x).__array_interface__["data"][0] == x.data_ptr()


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_a_model_trains_on_tensors_to_the_same_bits(name, request):
    library = request.getfixturevalue(name)
    of = library.from_numpy if name == "torch" else library.numpy.asarray
    y = np.arange(20) % 2
    models = [nn.Sequential(nn.Linear(4, 2, rng=0), bn.BatchNorm1d(2)) for _ in range(2)]
    for model, f in zip(models, (of, np.asarray), strict=True):
        criterion = nn.CrossEntropyLoss()
        out = model(f(ROWS))
        criterion(f(out), f(y))
        model.backward(f(criterion.backward()))
        nn.SGD(model.parameters(), lr=0.1).step()
    for one, other in zip(*(model.state_dict().values() for model in models), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_loader_of_pytorch_gives_the_batches_of_fit(torch):
    data = torch.utils.data.TensorDataset(torch.from_numpy(ROWS), torch.arange(20) % 2)
    loader = torch.utils.data.DataLoader(data, batch_size=10)
    model = nn.Sequential(nn.Linear(4, 2, rng=0))
    expected = nn.Sequential(nn.Linear(4, 2, rng=0))
    y = np.arange(20) % 2
    nn.fit(model, loader, epochs=2, progress=False)
    nn.fit(expected, [(ROWS[:10], y[:10]), (ROWS[10:], y[10:])], epochs=2, progress=False)
    np.testing.assert_array_equal(model[0].weight.data, expected[0].weight.data)


def test_bfloat16_of_pytorch_without_ml_dtypes_is_told_in_one_sentence(torch, monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    words = "^x of bfloat16 needs ml_dtypes, which is not installed: pip install ml_dtypes$"
    with pytest.raises(ImportError, match=words):
        bn.stats(torch.ones(4, 3).bfloat16())


def test_what_cannot_be_read_is_told_in_one_sentence(torch, jax):
    x = torch.from_numpy(ROWS)
    with pytest.raises(
        TypeError, match=r"x must not require a gradient, got Tensor: give its detach"
    ):
        bn.stats(x.clone().requires_grad_())
    with pytest.raises(TypeError, match="weight must not require a gradient, got Parameter"):
        bn.normalize_batch(x, torch.nn.Parameter(torch.ones(4)))
    unreadable = "^x must be readable as a NumPy array, got "
    with pytest.raises(TypeError, match=unreadable + "Tensor .*: a meta tensor has no values$"):
        bn.stats(x.to("meta"))
    with pytest.raises(TypeError, match=unreadable + r"Tensor .*: give tensor.to_dense\(\)$"):
        bn.stats(x.to_sparse())
    with pytest.raises(TypeError, match=unreadable + r".*Tracer(?s:.)*call bn outside of jax\.jit"):
        jax.jit(lambda x: bn.stats(x).mean)(ROWS)
