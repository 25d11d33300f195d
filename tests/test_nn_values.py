"""What flows through a model's forward: operations with NumPy's numbers and the right gradients."""

import numpy as np
import pytest
from arrays import normal
from gradcheck import gradcheck
from recorded import f64, forward_of

from bn import nn

# ---- operations ----

ROW, IMAGE = normal(1, 4), normal(3, 2, 1, 1)

OPERATIONS = {
    "x + x": lambda x: x + x,
    "x + array": lambda x: x + IMAGE,
    "array + x": lambda x: IMAGE + x,
    "x + number": lambda x: 1 + x + 2.0,
    "x - array": lambda x: x - IMAGE,
    "array - x": lambda x: IMAGE - x,
    "x - x": lambda x: x - x * 3,
    "-x": lambda x: -x,
    "x * x": lambda x: x * x,
    "x * array": lambda x: x * IMAGE,
    "array * x": lambda x: IMAGE * x,
    "x * number": lambda x: x * 3,
    "x * its mean": lambda x: x * x.mean((2, 3), keepdims=True),
    "x / number": lambda x: x / 3,
    "x / x": lambda x: x / (x * x + 1),
    "number / x": lambda x: 2 / (x * x + 1),
    "reshape": lambda x: x.reshape(2, 3, -1) * x.reshape((2, 3, 8)),
    "reshape of samples": lambda x: x.reshape(len(x), -1) * x.reshape(3, 16),
    "flatten": lambda x: x.flatten(),
    "flatten samples": lambda x: x.flatten(1) * 2,
    "flatten pixels": lambda x: x.flatten(2, 3) * 2,
    "transpose": lambda x: x.transpose(0, 2, 3, 1) * normal(3, 4, 2, 2),
    "transpose all": lambda x: x.transpose() * normal(2, 4, 2, 3),
    "mean": lambda x: x.mean() + x,
    "mean of an axis": lambda x: x.mean(1) * normal(3, 4, 2),
    "mean of pixels": lambda x: x.mean((2, 3)) * normal(3, 2),
    "mean of the last axes": lambda x: x.mean((-1, 1)) * normal(3, 4),
    "slices": lambda x: x[:, :1] * x[:, 1:],
    "strides": lambda x: x[:, :, ::2, ::-1] * 2,
    "an index": lambda x: x[1] * x[0] + x[-1, ..., None, 0],
    "concatenate": lambda x: nn.concatenate([x, x * 2, IMAGE * x], axis=1),
    "concatenate samples": lambda x: nn.concatenate([x, x * x]),
}


@pytest.mark.parametrize("order", ["C", "channels-last"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_gives_numpys_numbers_and_the_right_gradients(name, order):
    x = normal(3, 2, 4, 2)
    if order == "channels-last":
        x = nn.channels_last(x)
    model = forward_of(OPERATIONS[name])
    y = model(x)
    if name not in ("flatten samples", "flatten pixels", "concatenate", "concatenate samples"):
        np.testing.assert_allclose(y, OPERATIONS[name](x), rtol=1e-14)
    gradcheck(model, x)


def test_operations_that_numpy_has_not():
    x = normal(3, 2, 4, 2)
    np.testing.assert_array_equal(forward_of(lambda x: x.flatten(1))(x), x.reshape(3, 16))
    np.testing.assert_array_equal(forward_of(lambda x: x.flatten(2))(x), x.reshape(3, 2, 8))
    joined = forward_of(lambda x: nn.concatenate([x, -x], axis=-1))(x)
    np.testing.assert_array_equal(joined, np.concatenate([x, -x], axis=-1))
    np.testing.assert_array_equal(nn.concatenate([x, -x], axis=-1), joined)


def test_a_parameter_in_an_operation_gets_its_gradient():
    class Scaled(nn.Module):
        def __init__(self):
            self.scale, self.shift = nn.Parameter(normal(4)), nn.Parameter(normal(3, 1))

        def forward(self, x):
            return self.scale * x + self.shift * x - self.shift

    gradcheck(Scaled(), normal(3, 4))


def test_parts_of_parameters_and_layers_of_parameters_get_gradients():
    class Positions(nn.Module):
        def __init__(self):
            self.table = nn.Parameter(normal(1, 6, 3))
            self.query, self.layer = nn.Parameter(normal(1, 3)), nn.Linear(3, 3, **f64())

        def forward(self, x):
            return (x + self.table[:, : x.shape[1]]) * self.layer(self.query)

    gradcheck(Positions(), normal(2, 4, 3))
    outside = nn.Parameter(normal(3))
    np.testing.assert_array_equal(outside[1:], outside.data[1:])
    with pytest.raises(TypeError, match="making an array of a parameter is not recorded"):
        forward_of(lambda x: x * np.exp(outside))(normal(2, 3))


def test_an_operation_keeps_the_dtype_of_its_value():
    x = normal(2, 3, dtype=np.float32)
    model = forward_of(lambda x: (x * 2.0 + 1 - np.float64(3)) / 2 + x.mean())
    assert model(x).dtype == model.backward(x).dtype == np.float32


# ---- what is not recorded ----

REFUSED = {
    r"numpy\.exp": np.exp,
    r"numpy\.maximum": lambda x: np.maximum(x, 0),
    r"numpy\.concatenate": lambda x: np.concatenate([x, x]),
    r"numpy\.mean": np.mean,
    "making an array": np.asarray,
    r"\+=": lambda x: x.__iadd__(1),
    r"\*=": lambda x: x.__imul__(1),
    "assigning to parts": lambda x: x.__setitem__(0, 1),
    "whether it is true": bool,
    "iterating": list,
    r"\*\*": lambda x: x**2,
    "@": lambda x: x @ x,
    ">": lambda x: x > 0,
    "==": lambda x: x == 0,
    "float": float,
    "indexing by ndarray": lambda x: x[np.array([0])],
    "indexing by list": lambda x: x[[0]],
}


@pytest.mark.parametrize("operation", REFUSED)
def test_anything_else_is_an_error_that_names_it_and_the_way_out(operation):
    model = forward_of(REFUSED[operation])
    with pytest.raises(
        TypeError, match=f"{operation}.* not recorded: .* with forward and backward"
    ):
        model(normal(2, 2))


def test_an_attribute_of_arrays_that_values_lack_is_named():
    with pytest.raises(
        AttributeError, match=r"a recorded value has no sum: .* forward and backward"
    ):
        forward_of(lambda x: x.sum())(normal(2, 2))


@pytest.mark.parametrize("output", [None, np.ones(2), [1]])
def test_a_forward_must_return_what_its_layers_gave(output):
    with pytest.raises(TypeError, match=r"Model\.forward must return one value that its layers"):
        forward_of(lambda x: output)(normal(2, 2))


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (lambda x: x.reshape(5, -1), r"reshape must keep the 12 values of shape \(3, 4\), got"),
        (lambda x: x.reshape(-1, -1), r"reshape must keep the 12 values"),
        (lambda x: x.transpose(0, 0), r"transpose must get each of 2 axes once, got \(0, 0\)"),
        (lambda x: x.mean((0, 0)), "each axis must be given once"),
        (lambda x: x.mean(2), "axis"),
        (lambda x: nn.concatenate([x, x[:, :2]]), "shapes differ on axis 0 only"),
        (lambda x: nn.concatenate([]), "at least one array"),
        (lambda x: x + normal(3, 3), "broadcast"),
    ],
)
def test_operations_say_what_does_not_fit(operation, message):
    with pytest.raises(ValueError, match=message):
        forward_of(operation)(normal(3, 4))


def test_a_value_of_another_pass_is_refused():
    class Remembers(nn.Module):
        last = None

        def forward(self, x):
            y = x if self.last is None else x + self.last
            self.last = x
            return y

    model, x = Remembers(), normal(2, 2)
    model(x)
    with pytest.raises(RuntimeError, match="in the forward pass that it comes from"):
        model(x)


def test_the_forward_of_a_layer_called_by_itself_in_a_model_is_an_error_with_a_hint():
    model = forward_of(lambda x, layer: layer.forward(x), nn.Tanh())
    with pytest.raises(TypeError, match=r"got Value \(call the layer, not its forward"):
        model(normal(2, 2))


def test_values_given_to_a_layer_by_name_are_refused():
    with pytest.raises(
        TypeError, match=r"^in layers\.0: recorded values must be given by position"
    ):
        forward_of(lambda x, layer: layer(x=x), nn.Tanh())(normal(2, 2))
    with pytest.raises(TypeError, match="takes an array as its first argument"):
        nn.Sequential(nn.Tanh())(x=normal(2, 2))
