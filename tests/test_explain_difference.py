"""`bn.explain_difference` finds what was made different, and nothing else."""

import dataclasses
import itertools

import foreign
import numpy as np
import pytest

import bn
from bn import nn

RNG = np.random.default_rng(0)
X = (2 * RNG.standard_normal((40, 3)) + 0.5).astype(np.float32)
IMAGES = RNG.standard_normal((6, 3, 3, 4)).astype(np.float32)


def layer(training=True, share=0.1, eps=1e-5, dtype=np.float32, **options):
    """Make a layer whose parameters and running statistics are of no special values."""
    made = bn.preset("torch", 3, momentum=share, eps=eps, axis=1, dtype=dtype, **options)
    made.running_mean[...] = [0.5, -0.5, 1.0]
    made.running_var[...] = [2.0, 3.0, 4.0]
    if made.weight is not None:
        made.weight[...] = [1.5, 0.5, 2.0]
    if made.bias is not None:
        made.bias[...] = [0.1, 0.2, -0.3]
    return made.train(training)


def changed(made, **convention):
    """Change the convention of a layer."""
    made.convention = made.running.convention = dataclasses.replace(made.convention, **convention)
    return made


def set_to(made, name, values):
    getattr(made, name)[...] = values
    return made


# What makes one thing different in a layer, and in which mode that shows.
DIFFERENT = {
    "mode": (lambda made: made.train(not made.training), True),
    "epsilon": (lambda made: setattr(made, "eps", 1e-3) or made, True),
    "gamma": (lambda made: set_to(made, "weight", [1.0, 1.0, 1.0]), True),
    "beta": (lambda made: set_to(made, "bias", [0.1, 0.2, 0.5]), True),
    "running statistics": (lambda made: set_to(made, "running_mean", [0.0, 0.0, 0.0]), False),
    "momentum": (lambda made: setattr(made, "momentum", 0.9) or made, True),
    "kind of running variance": (lambda made: changed(made, unbiased=False), True),
}

SHOW_AFTERWARDS = {"momentum", "kind of running variance"}  # in running statistics


def names(explanation):
    return [cause.name for cause in explanation.causes]


@pytest.mark.parametrize("name", DIFFERENT)
def test_one_cause_is_found_alone(name):
    change, training = DIFFERENT[name]
    found = bn.explain_difference(layer(training), change(layer(training)), X)
    assert names(found) == [name]
    assert found.causes[0].after == found.remaining <= found.tolerance < found.causes[0].before
    assert "which is rounding" in repr(found)


@pytest.mark.parametrize("pair", list(itertools.combinations(DIFFERENT, 2)), ids=" and ".join)
def test_two_causes_are_found_together(pair):
    training = all(DIFFERENT[name][1] for name in pair)
    training |= bool(SHOW_AFTERWARDS & set(pair))
    a, b = layer(training), layer(training)
    for name in pair:
        b = DIFFERENT[name][0](b)
    found = bn.explain_difference(a, b, X)
    if "mode" in pair and SHOW_AFTERWARDS & set(pair):
        assert names(found) == ["mode"]  # no batch enters b's running statistics
    else:
        assert sorted(names(found)) == sorted(pair)
    assert found.remaining <= found.tolerance


def test_the_place_of_epsilon_is_found():
    b = changed(layer(False), eps_outside_root=True)
    found = bn.explain_difference(layer(False), b, X)
    assert names(found) == ["place of epsilon"]
    assert (found.causes[0].a, found.causes[0].b) == ("under the root", "outside the root")


def test_a_fixed_gamma_is_told():
    found = bn.explain_difference(layer(), layer(scale=False), X)
    assert names(found) == ["gamma"]
    assert found.causes[0].b == "fixed to 1"


def test_another_axis_is_found():
    x = RNG.standard_normal((6, 3, 5, 3)).astype(np.float32)
    b = layer()
    b.axis = -1
    assert names(bn.explain_difference(layer(), b, x)) == ["axis"]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("swapped", [False, True])
def test_another_axis_with_another_number_of_channels_is_found(training, swapped):
    a, b = layer(training), bn.preset("torch", 4, axis=3).train(training)
    found = bn.explain_difference(*((b, a) if swapped else (a, b)), IMAGES)
    assert names(found) == ["axis"] and found.remaining <= found.tolerance
    (cause,) = found.causes
    sides = {"1, which has 3 channels", "3, which has 4 channels"}
    assert {cause.a, cause.b} == sides and cause.before > found.tolerance
    assert "inf" not in found.conclusion


def test_a_gamma_that_only_the_side_with_other_channels_has_is_a_cause_of_its_own():
    a, b = bn.preset("torch", 3, axis=1, scale=False), bn.preset("torch", 4, axis=3)
    b.weight[...] = [1.0, 2.0, 3.0, 4.0]
    assert names(bn.explain_difference(a, b, IMAGES)) == ["gamma", "axis"]


def test_an_axis_counted_from_the_end_is_no_difference():
    b = layer()
    b.axis = -1
    assert names(bn.explain_difference(layer(), b, X)) == []


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_equal_layers_have_no_difference_beyond_rounding(training, dtype):
    x, wide = X.astype(dtype), dtype if dtype == np.float64 else np.float32
    found = bn.explain_difference(layer(training, dtype=wide), layer(training, dtype=wide), x)
    assert found.causes == ()
    assert "no difference beyond rounding" in found.conclusion


def test_a_difference_as_small_as_rounding_is_none():
    for dtype, expected in ((np.float32, []), (np.float64, ["epsilon"])):
        a, b = layer(dtype=dtype), layer(dtype=dtype, eps=1.1e-5)
        assert names(bn.explain_difference(a, b, X.astype(dtype))) == expected
        assert names(bn.explain_difference(a, b, X.astype(dtype), tolerance=1e-3)) == []


def test_the_layers_stay_as_they_were():
    a, b = layer(), layer(eps=1e-3)
    before = [made.state_dict() for made in (a, b)]
    bn.explain_difference(a, b, X, training=False)
    for made, state in zip((a, b), before, strict=True):
        assert made.training and made.hooks == ()
        for name, array in made.state_dict().items():
            np.testing.assert_array_equal(array, state[name])


def test_a_mode_that_is_given_is_that_of_both():
    a, b = layer(True), layer(False)
    assert names(bn.explain_difference(a, b, X)) == ["mode"]
    for training in (True, False):
        assert names(bn.explain_difference(a, b, X, training=training)) == []


# ---- sides that show their results alone ----


def normalized(x, eps=1e-5, outside=False, ddof=0, axis=1):
    """Normalize each channel in a way of one's own."""
    others = tuple(i for i in range(x.ndim) if i != axis)
    mean, var = x.mean(others, keepdims=True), x.var(others, keepdims=True, ddof=ddof)
    return (x - mean) / (np.sqrt(var) + eps if outside else np.sqrt(var + eps))


UNKNOWN = {
    "epsilon": lambda x: normalized(x, 1e-3),
    "variance that normalizes": lambda x: normalized(x, ddof=1),
    "axis": lambda x: normalized(x, axis=3),
    "mode": lambda x: x / np.sqrt(1 + 1e-5),
}


@pytest.mark.parametrize("name", UNKNOWN)
@pytest.mark.parametrize("swapped", [False, True])
def test_usual_causes_are_tried_on_a_function(name, swapped):
    x = RNG.standard_normal((6, 3, 5, 3))
    sides = (bn.BatchNorm2d(3, dtype="f8", affine=False), UNKNOWN[name])
    found = bn.explain_difference(*(sides[::-1] if swapped else sides), x)
    assert names(found) == [name]
    assert found.remaining <= found.tolerance


def test_two_usual_causes_are_found_in_outputs_alone():
    a = bn.BatchNorm1d(3, dtype="f8", affine=False)
    x = X.astype(np.float64)
    found = bn.explain_difference(a, normalized(x, 1e-3, outside=True), x)
    assert names(found) == ["epsilon", "place of epsilon"]


def test_a_gamma_that_a_function_leaves_out_is_found():
    a = layer(dtype="f8")
    a.bias[...] = 0
    found = bn.explain_difference(a, normalized, X.astype(np.float64))
    assert names(found) == ["gamma"]
    assert found.causes[0].b == "fixed to 1"


def test_a_difference_that_nothing_explains_is_said_so():
    found = bn.explain_difference(layer(), lambda x: x**3, X)
    assert found.causes == ()
    assert found.conclusion.startswith("Nothing that was tried explains the difference of")
    assert found.remaining == pytest.approx(found.differences["output"], rel=1e-4)


def test_a_difference_that_is_explained_in_part_is_said_so():
    b = layer(dtype="f8")
    wrong = b(X.astype(np.float64))
    wrong[3, 0] += 0.01
    a = layer(dtype="f8", eps=1.0)
    found = bn.explain_difference(a, wrong, X.astype(np.float64))
    assert names(found) == ["epsilon"]
    assert "a part of the difference" in found.conclusion
    assert found.remaining == pytest.approx(0.01 / np.abs(wrong).max(), rel=0.1)


def test_the_axis_of_a_function_may_have_another_number_of_channels():
    a = bn.preset("torch", 3, axis=1, dtype="f8")
    x = IMAGES.astype(np.float64)
    assert names(bn.explain_difference(a, lambda x: normalized(x, axis=3), x)) == ["axis"]


def test_outputs_of_another_shape_are_said_so():
    for sides in ((layer(), np.ones((40, 4))), (lambda x: x, np.ones((40, 4)))):
        found = bn.explain_difference(*sides, X)
        assert found.causes == ()
        words = "The outputs have different shapes, (40, 3) of a and (40, 4) of b"
        assert found.conclusion == words + ", so nothing was tried."


def test_an_input_of_another_shape_at_a_normalization_is_said_so():
    b = nn.Sequential(nn.Linear(3, 5, rng=0), bn.BatchNorm1d(5))
    found = bn.explain_difference(nn.Sequential(nn.Linear(3, 4, rng=0), bn.BatchNorm1d(4)), b, X)
    assert "different shapes, (40, 4) of a and (40, 5) of b" in found.conclusion


def test_two_functions_are_compared_without_causes():
    found = bn.explain_difference(lambda x: x, lambda x: x + 1, X)
    assert "nothing was tried" in found.conclusion and found.causes == ()
    same = bn.explain_difference(lambda x: x, lambda x: x, X)
    assert "no difference beyond rounding" in same.conclusion


def test_a_wrapper_that_computes_otherwise_is_no_layer_that_says_what_it_computes():
    b = bn.GhostBatchNorm(layer(), 10)
    for sides in ((layer(), b), (b, layer())):
        found = bn.explain_difference(*sides, X)
        assert found.remaining > found.tolerance
        assert "hing that was tried explains" in found.conclusion


def test_batch_renormalization_is_not_read_as_a_plain_layer():
    a, b = bn.BatchNormalization(), bn.BatchNormalization(renorm=True)
    b(X)
    found = bn.explain_difference(b, a, 3 * X, training=True)
    assert found.remaining > found.tolerance


def test_arrays_of_other_libraries_are_taken():
    found = bn.explain_difference(layer(), layer(eps=1e-3), foreign.ByDLPack(X))
    assert names(found) == ["epsilon"]
    outputs = layer(eps=1e-3)(X)
    assert names(bn.explain_difference(layer(), foreign.ByNumPy(outputs), X)) == ["epsilon"]


# ---- models ----


def model(eps=1e-5, seed=0, last=1):
    return nn.Sequential(
        nn.Linear(3, 4, rng=0),
        bn.BatchNorm1d(4),
        nn.ReLU(),
        nn.Linear(4, 4, rng=seed),
        bn.BatchNorm1d(4, eps=eps),
        nn.Linear(4, 2, rng=last),
    )


def test_the_first_normalization_whose_results_part_is_explained():
    found = bn.explain_difference(model(), model(eps=0.1), X)
    assert found.place == "4 of a and 4 of b"
    assert names(found) == ["epsilon"]


def test_a_cause_before_a_normalization_is_not_looked_for_in_it():
    found = bn.explain_difference(model(), model(seed=1, eps=0.1), X)
    assert found.place == "before 4 of a and 4 of b" and found.causes == ()
    assert "the cause is before them" in found.conclusion


def test_a_cause_behind_all_normalizations_is_said_so():
    found = bn.explain_difference(model(), model(last=2), X)
    assert found.place == "behind 4 of a and 4 of b"
    assert "the cause is behind them" in found.conclusion


def test_rounding_in_the_layers_before_a_normalization_is_no_difference():
    a, b = model(), model()
    b[0].weight.data *= np.float32(1 + 1e-5)
    assert "no difference" in bn.explain_difference(a, b, X).conclusion
    b[0].weight.data *= np.float32(1 + 1e-3)
    found = bn.explain_difference(a, b, X)
    assert found.place == "before 1 of a and 1 of b"


def test_equal_models_have_no_difference():
    assert "no difference" in bn.explain_difference(model(), model(), X).conclusion


def test_a_normalization_that_only_one_side_has_is_looked_for_behind_the_others():
    a = nn.Sequential(nn.Linear(3, 4, rng=0), bn.BatchNorm1d(4))
    b = nn.Sequential(*a, bn.BatchNorm1d(4, eps=0.5))
    found = bn.explain_difference(a, b, X)
    assert found.place == "behind 1 of a and 1 of b"
    assert "a (1 calls) and b (2 calls) agree" in found.conclusion


def test_a_layer_that_is_called_twice_has_the_statistics_of_each_call():
    class Twice(nn.Module):
        def __init__(self, momentum):
            self.norm = bn.BatchNorm1d(3, momentum=momentum)

        def forward(self, x):
            return self.norm(self.norm(x) * 2.0)

    found = bn.explain_difference(Twice(0.1), Twice(0.2), X)
    assert names(found) == ["momentum"]
    assert found.place == "norm of a and norm of b"


def test_channels_on_another_axis_come_with_an_input_of_their_own():
    a, b = layer(), layer(eps=1e-3)
    b.axis = -1
    found = bn.explain_difference(a, b, IMAGES, x_b=IMAGES.transpose(0, 2, 3, 1))
    assert names(found) == ["epsilon"]


# ---- what is refused ----


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((3, layer(), X), {}, "a must be callable, got int"),
        ((layer(), bn.BatchNorm1d, X), {}, "b must be a function or an object, got the class"),
        ((layer(), layer(), [[1.0]]), {}, "x must be a numpy array, got list"),
        ((layer(), layer(), X), {"training": 1}, "training must be True, False or None"),
        ((layer(), layer(), X), {"tolerance": -1.0}, "tolerance must be a number of at least 0"),
    ],
)
def test_what_is_no_side_is_refused(arguments, options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        bn.explain_difference(*arguments, **options)
