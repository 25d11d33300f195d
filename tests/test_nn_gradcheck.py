"""`nn.gradcheck` passes right layers, names the place of a wrong gradient, and changes nothing."""

import copy
import re

import numpy as np
import pytest
from arrays import normal

import bn
from bn import nn


def f64(**more):
    return {"dtype": np.float64, "rng": 0, **more}


def network():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, **f64()),
        bn.BatchNorm2d(3, dtype=np.float64),
        nn.Tanh(),
        nn.Dropout(0.3, rng=0),
        nn.Flatten(),
        nn.Linear(48, 2, **f64()),
    )


class Affine(nn.Module):
    """y = weight * x + bias of one number each, with errors in the gradients on demand."""

    def __init__(self, dx=None, dweight=None):
        self.weight, self.bias = nn.Parameter(normal(4)), nn.Parameter(np.array(0.5))
        self.wrong = {"x": dx, "weight": dweight}

    def forward(self, x):
        y = self.weight.data * x + self.bias.data
        self.keep(y, x)
        return y

    def backward(self, dy):
        (x,) = self.take(dy)
        dx, dweight = dy * self.weight.data, np.sum(dy * x, axis=0)
        for gradient, wrong in ((dx, self.wrong["x"]), (dweight, self.wrong["weight"])):
            if wrong is not None:
                gradient[wrong] += 0.25
        self.weight.accumulate(dweight)
        self.bias.accumulate(np.array(np.sum(dy)))
        return dx


def numbers(error):
    """Return what the message says that backward and the differences give."""
    found = re.search(r": backward gives (\S+), differences give (\S+)$", str(error.value))
    return float(found[1]), float(found[2])


# ---- right gradients ----


@pytest.mark.parametrize("training", [True, False])
def test_a_model_with_the_right_gradients_passes(training):
    nn.gradcheck(network().train(training), normal(4, 2, 4, 4))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Affine(), (3, 4)),
        (nn.Softmax(), (3, 4)),
        (nn.MaxPool2d(2), (2, 2, 4, 4)),
        (bn.BatchNormalization(dtype=np.float64), (3, 4)),
        (bn.GhostBatchNorm(bn.BatchNorm1d(4, dtype=np.float64), 3), (6, 4)),
        (nn.Residual(nn.Linear(4, 4, **f64())), (3, 4)),
        (nn.Flatten(), (2, 3, 4)),
        (nn.Sequential(nn.Flatten()), (2, 3, 4)),
        (nn.ReLU(), (0, 4)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_a_layer_with_the_right_gradients_passes(layer, shape):
    layer.build(shape[1:])
    nn.gradcheck(layer, normal(*shape))


@pytest.mark.parametrize("change", [nn.channels_last, lambda x: np.broadcast_to(x[:1], x.shape)])
def test_x_may_have_any_strides(change):
    x = change(normal(3, 2, 4, 4))
    nn.gradcheck(network().eval(), x)


def test_a_model_of_several_inputs_takes_a_tuple():
    class Product(nn.Module):
        def __init__(self):
            self.left = Affine(dx=(2, 1))

        def forward(self, a, b):
            return self.left(a) * b

    with pytest.raises(AssertionError, match=r"^gradient of x\[0\]\[2, 1\]: backward gives"):
        nn.gradcheck(Product(), (normal(3, 4), normal(3, 4, seed=1)))


def test_a_layer_that_is_used_twice_and_frozen_ones_pass():
    shared, frozen = nn.Linear(3, 3, **f64()), nn.Linear(3, 3, **f64(rng=1))
    norm = bn.freeze(bn.BatchNorm1d(3, dtype=np.float64))
    frozen.trainable = False
    nn.gradcheck(nn.Sequential(shared, frozen, norm, nn.Tanh(), shared), normal(4, 3))


def test_running_statistics_that_normalize_do_not_move_between_the_calls():
    layer = bn.BatchNorm1d(3, dtype=np.float64)
    layer.use_batch_stats, layer.update_stats = False, True
    nn.gradcheck(layer, normal(20, 3))


def test_layers_that_are_not_used_have_the_gradient_zero():
    model = nn.Sequential(nn.Linear(3, 3, **f64()))
    model.head = nn.Linear(3, 3, **f64())
    nn.gradcheck(model, normal(4, 3))


# ---- wrong gradients ----


def test_a_wrong_entry_of_the_gradient_of_x_is_told_with_its_place():
    with pytest.raises(AssertionError, match=r"^gradient of x\[2, 1\]: backward gives ") as error:
        nn.gradcheck(Affine(dx=(2, 1)), normal(3, 4))
    backward, differences = numbers(error)
    assert backward - differences == pytest.approx(0.25)


def test_a_wrong_entry_of_the_gradient_of_a_parameter_is_told_with_its_path_and_place():
    model = nn.Sequential(nn.Tanh(), nn.Residual(nn.Sequential(Affine(dweight=3))))
    with pytest.raises(AssertionError, match=r"^gradient of 1\.body\.0\.weight\[3\]: ") as error:
        nn.gradcheck(model, normal(3, 4))
    backward, differences = numbers(error)
    assert backward - differences == pytest.approx(0.25)


def test_of_several_wrong_gradients_the_largest_difference_is_told():
    class Wrong(Affine):
        def backward(self, dy):
            dx = super().backward(dy)
            dx[0, 1] += 1
            self.bias.grad *= 0
            self.bias.grad += 100
            return dx

    with pytest.raises(AssertionError, match=r"^gradient of bias: backward gives 100, "):
        nn.gradcheck(Wrong(dx=(2, 1), dweight=0), normal(3, 4))


def test_a_gradient_that_is_no_number_is_wrong():
    class Wrong(nn.ReLU):
        def backward(self, dy):
            dx = super().backward(dy)
            dx[1, 0] = np.nan
            return dx

    with pytest.raises(AssertionError, match=r"^gradient of x\[1, 0\]: backward gives nan, diff"):
        nn.gradcheck(Wrong(), normal(3, 4))


def test_a_parameter_that_backward_forgets_has_the_gradient_zero():
    class Wrong(Affine):
        def backward(self, dy):
            dx = super().backward(dy)
            self.bias.grad = None
            return dx

    with pytest.raises(AssertionError, match=r"^gradient of bias: backward gives 0, differences"):
        nn.gradcheck(Wrong(), normal(3, 4))


def test_the_tolerance_says_what_is_wrong():
    nn.gradcheck(Affine(dx=(2, 1)), normal(3, 4), tolerance=0.3)
    with pytest.raises(AssertionError):
        nn.gradcheck(Affine(dx=(2, 1)), normal(3, 4), tolerance=0.1)


def test_of_large_arrays_a_choice_is_checked_that_is_always_the_same():
    class Wrong(nn.Tanh):
        def backward(self, dy):
            return 2 * super().backward(dy)

    class Counting(nn.Tanh):
        calls = 0

        def forward(self, x):
            Counting.calls += 1
            return super().forward(x)

    nn.gradcheck(Counting(), normal(100, 100))
    assert Counting.calls < 300
    messages = set()
    for _ in range(2):
        with pytest.raises(AssertionError) as error:
            nn.gradcheck(Wrong(), normal(100, 100))
        messages.add(str(error.value))
    assert len(messages) == 1


# ---- what is refused ----


def test_float32_is_refused():
    with pytest.raises(TypeError, match=r"^x must be float64, .*, got float32"):
        nn.gradcheck(network(), normal(4, 2, 4, 4, dtype=np.float32))
    model = nn.Sequential(nn.Linear(3, 3, **f64()), bn.BatchNorm1d(3))
    with pytest.raises(TypeError, match=r"^1\.weight must be float64, .*, got float32"):
        nn.gradcheck(model, normal(4, 3))
    with pytest.raises(TypeError, match=r"^x must be a numpy array, got list"):
        nn.gradcheck(model, [[1.0]])


def test_an_output_that_is_not_float64_is_refused():
    class Narrow(nn.Tanh):
        def forward(self, x):
            return super().forward(x).astype(np.float32)

    with pytest.raises(TypeError, match=r"^the output must be float64, .*, got float32"):
        nn.gradcheck(Narrow(), normal(4, 3))


def test_a_gradient_of_another_shape_is_refused():
    class Wrong(nn.Tanh):
        def backward(self, dy):
            return super().backward(dy)[0]

    with pytest.raises(ValueError, match=r"the gradient of x must have shape \(4, 3\), got \(3,\)"):
        nn.gradcheck(Wrong(), normal(4, 3))


def test_a_layer_whose_output_changes_from_call_to_call_is_refused():
    rng = np.random.default_rng(0)

    class Noise(nn.Tanh):
        def forward(self, x):
            return super().forward(x) + rng.standard_normal(x.shape)

    with pytest.raises(ValueError, match=r"^Noise must give the same output for the same x each"):
        nn.gradcheck(Noise(), normal(4, 3))


def test_what_is_no_layer_and_what_is_no_tolerance_are_refused():
    with pytest.raises(TypeError, match="layer must be of type Module, got int"):
        nn.gradcheck(3, normal(4, 3))
    with pytest.raises(ValueError, match="tolerance must be a number of at least 0, got -1"):
        nn.gradcheck(nn.Tanh(), normal(4, 3), tolerance=-1)


# ---- nothing changes ----


def everything(model):
    """Copy all that a model has: attributes, arrays, gradients, counts and generators."""
    parts = [dict(part) for module in model.modules() for part in module.attribute_dicts()]
    arrays = [array.copy() for _, array in model.named_state()]
    grads = [None if p.grad is None else p.grad.copy() for p in model.parameters()]
    states = [
        copy.deepcopy(m.rng.bit_generator.state) for m in model.modules() if hasattr(m, "rng")
    ]
    return parts, arrays, grads, states


@pytest.mark.parametrize("last", [nn.Tanh(), Affine(dx=(2, 1)), nn.Linear(9, 2, **f64())])
@pytest.mark.parametrize("training", [True, False])
def test_after_the_call_and_after_a_failure_all_is_as_before(training, last):
    model = network().train(training)
    model.append(nn.Linear(2, 4, **f64())).append(last)
    x, seen = normal(4, 2, 4, 4), []
    dy = np.ones((4, 4))
    if not isinstance(last, nn.Linear):  # which does not fit
        model.backward(model(x))
        model(x)
    model[0].register_forward_hook(lambda *_: seen.append(1))
    parts, arrays, grads, states = everything(model)
    kept = x.copy()
    if isinstance(last, nn.Tanh):
        nn.gradcheck(model, x)
    else:
        with pytest.raises((AssertionError, ValueError)):
            nn.gradcheck(model, x)
    after = everything(model)
    for old, new in zip(parts, after[0], strict=True):
        assert list(old) == list(new) and all(old[name] is new[name] for name in old)
    for old, new in zip([*arrays, *grads], [*after[1], *after[2]], strict=True):
        np.testing.assert_array_equal(old, new)
    assert states == after[3] and seen == []
    np.testing.assert_array_equal(x, kept)
    if not isinstance(last, nn.Linear):
        model.backward(dy)  # of the call before
