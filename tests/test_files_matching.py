"""`bn.match_state` finds which array belongs to which, says how, and never guesses."""

import numpy as np
import pytest

import bn
from bn import nn
from bn.files.state import LoadedState


def model():
    """Return a model whose names are PyTorch's."""
    return nn.Sequential(nn.Conv2d(2, 3, 3, rng=0), bn.BatchNorm2d(3), nn.Linear(5, 4, rng=1))


def random_state(of, rng):
    return {name: rng.random(a.shape) for name, a in of.state_dict().items()}


def assert_all_found(matched, of, expected):
    """Assert that all arrays were found, and that each is the expected one."""
    assert matched.missing == {}
    assert {n for n, _ in of.named_state() if "num_batches" not in n} <= matched.keys()
    for name, array in matched.items():
        np.testing.assert_array_equal(array, expected[name])


def test_the_same_names_are_matched(rng):
    state = random_state(model(), rng)
    matched = bn.match_state(model(), state)
    assert_all_found(matched, model(), state)
    assert {match.how for match in matched.matches} == {"same name"}
    assert matched.left_over == {}


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.module.", "backbone/"])
def test_a_common_prefix_is_found(rng, prefix):
    state = random_state(model(), rng)
    given = {prefix + name: array for name, array in state.items()}
    matched = bn.match_state(model(), {**given, "step": np.ones(1)})
    assert_all_found(matched, model(), state)
    assert {match.how for match in matched.matches} == {f"without {prefix.replace('/', '.')!r}"}
    assert list(matched.left_over) == ["step"]


def test_a_prefix_of_the_models_names_is_found(rng):
    state = random_state(model(), rng)
    whole = nn.ModuleDict({"body": model(), "head": nn.Linear(4, 2)})
    matched = bn.match_state(whole, state)
    assert set(matched) == {f"body.{name}" for name in state}
    assert set(matched.missing) == {"head.weight", "head.bias"}
    whole.load_state_dict(whole.state_dict() | matched)
    np.testing.assert_array_equal(whole["body"][2].weight.data, state["2.weight"].astype("f4"))


def test_of_two_prefixes_that_fit_none_is_taken(rng):
    state = random_state(model(), rng)
    given = {f"{who}.{n}": a for who in ("student", "teacher") for n, a in state.items()}
    matched = bn.match_state(model(), given)
    assert matched == {}
    assert matched.left_over["teacher.0.weight"] == "several prefixes fit: give prefix="
    chosen = bn.match_state(model(), given, prefix="teacher.")
    assert_all_found(chosen, model(), state)
    assert chosen.left_over["student.0.weight"] == "its name does not begin with 'teacher.'"


def test_a_name_with_another_shape_is_not_matched(rng):
    state = random_state(model(), rng)
    state["2.weight"] = np.ones((10, 5))
    matched = bn.match_state(model(), state)
    why = "its shape is (10, 5) in the state and (4, 5) in the model"
    assert matched.missing == {"2.weight": why}
    assert matched.left_over == {"2.weight": why}


def test_a_square_weight_with_pytorchs_name_is_not_transposed(rng):
    state = {"weight": rng.standard_normal((3, 3)), "bias": np.ones(3)}
    matched = bn.match_state(nn.Linear(3, 3), state)
    np.testing.assert_array_equal(matched["weight"], state["weight"])
    asked = bn.match_state(nn.Linear(3, 3), state, transpose=True)
    np.testing.assert_array_equal(asked["weight"], state["weight"].T)
    assert asked.matches[0].how == "same name, axes (1, 0)"


def test_a_weight_that_fits_only_transposed_is_not_matched_unless_asked_for():
    state = {"weight": np.ones((2, 3)), "bias": np.ones(3)}
    assert set(bn.match_state(nn.Linear(2, 3), state).missing) == {"weight"}
    assert bn.match_state(nn.Linear(2, 3), state, transpose=True).missing == {}


# ---- Keras ----


def keras_layers():
    """Return a model, and a state of Keras 3 for it with its kernels as they are there."""
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, axis=-1, rng=0),
        bn.BatchNormalization(),
        nn.Conv2d(3, 3, 2, groups=3, axis=-1, bias=False, rng=1),
        nn.ConvTranspose2d(3, 5, 2, axis=-1, rng=2),
        nn.Conv1d(2, 3, 4, rng=3),
        nn.Embedding(6, 4, rng=4),
        nn.Linear(4, 4, rng=5),
    )
    net[1].build((4, 4, 3))
    rng = np.random.default_rng(0)
    own = {n: rng.standard_normal(a.shape).astype(np.float32) for n, a in net.named_state()}
    places = {
        "conv2d/vars/0": own["0.weight"].transpose(2, 3, 1, 0),
        "conv2d/vars/1": own["0.bias"],
        "batch_normalization/vars/0": own["1.gamma"],
        "batch_normalization/vars/1": own["1.beta"],
        "batch_normalization/vars/2": own["1.moving_mean"],
        "batch_normalization/vars/3": own["1.moving_variance"],
        "depthwise_conv2d/vars/0": own["2.weight"].transpose(2, 3, 0, 1),
        "conv2d_transpose/vars/0": own["3.weight"].transpose(2, 3, 1, 0),
        "conv2d_transpose/vars/1": own["3.bias"],
        "conv1d/vars/0": own["4.weight"].transpose(2, 1, 0),
        "conv1d/vars/1": own["4.bias"],
        "embedding/vars/0": own["5.weight"],
        "dense/vars/0": own["6.weight"].T,
        "dense/vars/1": own["6.bias"],
    }
    return net, own, {f"layers/{name}": array for name, array in places.items()}


def test_kernels_of_keras_get_pytorchs_axes():
    net, own, state = keras_layers()
    matched = bn.match_state(net, LoadedState(state, in_order=False))
    assert_all_found(matched, net, own)
    how = {match.name: match.how for match in matched.matches}
    assert how["0.weight"].endswith("axes (3, 2, 0, 1)")
    assert how["2.weight"].endswith("axes (2, 3, 0, 1)")
    assert how["4.weight"].endswith("axes (2, 1, 0)")
    assert how["5.weight"] == "the only layer of these shapes"
    assert how["6.weight"].endswith("axes (1, 0)")


def test_words_of_keras_are_those_of_pytorch(rng):
    state = {
        "1/gamma:0": rng.standard_normal(3),
        "1/beta:0": rng.standard_normal(3),
        "1/moving_mean:0": rng.standard_normal(3),
        "1/moving_variance:0": rng.standard_normal(3),
    }
    matched = bn.match_state(nn.Sequential(nn.ReLU(), bn.BatchNorm1d(3)), state)
    assert matched.missing == {}
    np.testing.assert_array_equal(matched["1.running_var"], state["1/moving_variance:0"])


# ---- layers of the same shapes ----


def twins(count=2):
    return nn.Sequential(*(nn.Linear(3, 3, rng=i) for i in range(count)))


def named(names, rng):
    return {f"{n}.{p}": rng.standard_normal((3, 3) if p == "weight" else 3)
            for n in names for p in ("weight", "bias")}  # fmt: skip


def test_layers_of_the_same_shapes_are_matched_in_the_order_of_a_mapping(rng):
    state = named(["stem", "body"], rng)
    matched = bn.match_state(twins(), state)
    np.testing.assert_array_equal(matched["0.weight"], state["stem.weight"])
    np.testing.assert_array_equal(matched["1.bias"], state["body.bias"])
    assert {match.how for match in matched.matches} == {"same order"}


def test_without_an_order_layers_of_the_same_shapes_are_left_over(rng):
    matched = bn.match_state(twins(), LoadedState(named(["stem", "body"], rng), in_order=False))
    assert matched == {}
    why = "several layers have these shapes, and the file tells no order of them"
    assert set(matched.missing.values()) == set(matched.left_over.values()) == {why}


def test_numbers_in_names_are_an_order(rng):
    names = ["dense_10", "dense_9", "dense"]
    state = named(names, rng)
    matched = bn.match_state(twins(3), LoadedState(state, in_order=False))
    for i, name in enumerate(reversed(names)):
        np.testing.assert_array_equal(matched[f"{i}.weight"], state[f"{name}.weight"])


def test_more_layers_of_the_same_shapes_than_the_model_has_are_left_over(rng):
    matched = bn.match_state(twins(), named(["a", "b", "c"], rng))
    assert matched == {}
    why = "3 layers of these shapes are in the state, and 2 in the model"
    assert set(matched.left_over.values()) == {why}


def test_a_file_that_is_sorted_by_name_tells_no_order(rng, tmp_path):
    bn.save_state(tmp_path / "a.safetensors", named(["body", "stem"], rng))
    assert bn.match_state(twins(), bn.load_state(tmp_path / "a.safetensors")) == {}
    bn.save_state(tmp_path / "a.npz", named(["body", "stem"], rng))
    assert len(bn.match_state(twins(), bn.load_state(tmp_path / "a.npz"))) == 4


def test_of_two_names_that_mean_the_same_none_is_taken():
    state = {"weight": np.ones((3, 2)), "kernel": np.ones((2, 3)), "bias": np.ones(3)}
    matched = bn.match_state(nn.Linear(2, 3), state)
    assert list(matched) == ["bias"]
    assert set(matched.left_over.values()) == {"two names in the state mean the same"}


def test_numbers_of_batches_follow_their_layers(rng):
    state = {f"norm.{n}": a for n, a in random_state(bn.BatchNorm1d(3), rng).items()}
    net = nn.Sequential(nn.ReLU(), bn.BatchNorm1d(3))
    matched = bn.match_state(net, LoadedState(state, in_order=False))
    expected = {name.replace("norm", "1"): array for name, array in state.items()}
    assert_all_found(matched, net, expected)
    assert "1.num_batches_tracked" in matched
    assert matched.left_over == {}


def test_a_recurrent_layer_of_keras_is_never_taken_as_it_is():
    """Its weights have other axes, which shapes do not show if all sizes are the same."""
    state = {f"layers/simple_rnn/vars/{i}": np.ones((4, 4)) for i in range(2)}
    assert bn.match_state(nn.RNN(4, 4, bias=False), state) == {}


def test_a_layer_with_other_parts_is_not_matched():
    state = {"lstm/vars/0": np.ones((3, 16)), "lstm/vars/1": np.ones((4, 16))}
    matched = bn.match_state(nn.LSTM(3, 4), state)
    assert matched == {}
    assert len(matched.missing) == 4


# ---- what it says ----


def test_the_repr_is_a_table_of_what_was_found_and_what_was_not():
    state = {"net.weight": np.ones((3, 2)), "net.bias": np.ones(4), "step": np.ones(())}
    assert repr(bn.match_state(nn.Linear(2, 3), state)) == (
        "1 of 2 found\n"
        "in the state  in the model  shape   how\n"
        "net.weight    weight        (3, 2)  without 'net.'\n"
        "2 left over in the state\n"
        "  net.bias (4,): its shape is (4,) in the state and (3,) in the model\n"
        "  step (): the model has no such name, and no layer with these shapes is left\n"
        "1 missing in the model\n"
        "  bias (3,): its shape is (4,) in the state and (3,) in the model"
    )


def test_the_model_and_the_state_stay_as_they_are(rng):
    net, state = model(), random_state(model(), rng)
    before = net.state_dict(), dict(state)
    bn.match_state(net, state)
    assert all((before[0][n] == a).all() for n, a in net.state_dict().items())
    assert all(before[1][n] is a for n, a in state.items())


def test_wrong_arguments_are_refused():
    net = nn.Linear(2, 3)
    for error, words, call in (
        (TypeError, "model must be", lambda: bn.match_state({}, {})),
        (TypeError, "state must be a mapping", lambda: bn.match_state(net, [1])),
        (TypeError, "prefix must be a str", lambda: bn.match_state(net, {}, prefix=1)),
        (TypeError, "transpose must be", lambda: bn.match_state(net, {}, transpose=1)),
        (RuntimeError, "must be built", lambda: bn.match_state(nn.Linear(None, 3), {})),
    ):
        with pytest.raises(error, match=words):
            call()
