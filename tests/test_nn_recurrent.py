"""The recurrent layers and `nn.Embedding`, without another framework."""

import copy

import numpy as np
import pytest
from arrays import normal
from gradcheck import central_differences, gradcheck

import bn
import bncore
from bn import nn

F64 = {"dtype": np.float64, "rng": 0}
KINDS = {
    "RNN": nn.RNN,
    "RNN relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
    "LSTM": nn.LSTM,
    "GRU": nn.GRU,
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def states(state):
    """Return the parts of a final state."""
    return list(state) if isinstance(state, tuple) else [state]


# ---- the elementwise functions of a step ----


def activated(x):
    """Return tanh(x) and sigmoid(x), as the kernels compute them."""
    x = x.reshape(1, -1)
    zeros, tanh, c = np.zeros_like(x), np.empty_like(x), np.empty_like(x)
    bncore.recurrent_step("rnn_tanh", (x, zeros, zeros, tanh), None)
    gates = np.concatenate([x] * 4, axis=1)
    bncore.recurrent_step("lstm", (gates, np.zeros_like(gates), zeros, c, zeros, c.copy()), None)
    return tanh[0], gates[0, : x.size]


X = np.concatenate([normal(3001, seed=i) * 10.0 ** (i - 3) for i in range(6)])


@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, 2.5e-7), (np.float64, 5e-16)])
def test_tanh_and_sigmoid_have_all_their_digits(isa, dtype, limit):
    x = X.astype(dtype)
    exact = x.astype(np.longdouble)
    tanh, sigmoid = activated(x)
    np.testing.assert_allclose(tanh, np.tanh(exact), rtol=limit)
    step = float(np.finfo(dtype).smallest_subnormal)
    np.testing.assert_allclose(sigmoid, 1 / (1 + np.exp(-exact)), rtol=limit, atol=step)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tanh_and_sigmoid_of_what_is_not_finite(isa, dtype):
    largest = np.finfo(dtype).max
    tanh, sigmoid = activated(np.array([np.nan, np.inf, -np.inf, largest, -largest, 0], dtype))
    assert np.isnan(tanh[0]) and np.isnan(sigmoid[0])
    np.testing.assert_array_equal(tanh[1:], [1, -1, 1, -1, 0])
    np.testing.assert_allclose(sigmoid[1:], [1, 0, 1, 0, 0.5], atol=1e-37)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("hidden", [1, 7, 16, 33])
def test_a_step_has_the_same_bits_with_every_instruction_set(dtype, hidden):
    def bits(name, gates, tensors):
        arrays = [normal(5, hidden, seed=i, dtype=dtype) for i in range(tensors)]
        wide = [normal(5, gates * hidden, seed=i + 9, dtype=dtype) for i in range(3)]
        active = np.array([1, 1, 0, 1, 0], np.uint8)
        if "gradient" in name:
            given = [wide[0], *arrays]
            if name == "gru_gradient":
                given = [*given[:6], wide[1]]
        else:
            given = [*wide[:2], *arrays]
        bncore.recurrent_step(name, tuple(given), active)
        return b"".join(array.tobytes() for array in given)

    before, found = bncore.selected_isa(), set()
    for isa in bncore.available_isas():
        bncore.select_isa(isa)
        found.add(
            bits("rnn_tanh", 1, 2)
            + bits("rnn_relu", 1, 2)
            + bits("lstm", 4, 4)
            + bits("gru", 3, 4)
            + bits("rnn_tanh_gradient", 1, 4)
            + bits("rnn_relu_gradient", 1, 4)
            + bits("lstm_gradient", 4, 6)
            + bits("gru_gradient", 3, 6)
        )
    bncore.select_isa(before)
    assert len(found) == 1


@each_kind
def test_any_number_of_threads_gives_the_same_bits(kind):
    x = normal(7, 70, 33, dtype=np.float32)
    found = []
    for threads in (1, 2, 3):
        with bn.threads(threads):
            layer = KINDS[kind](33, 65, return_state=False, rng=0)
            y = layer(x)
            found.append([y.tobytes(), layer.backward(y).tobytes()])
            found[-1] += [p.grad.tobytes() for p in layer.parameters()]
    assert found[0] == found[1] == found[2]


# ---- gradients ----

OPTIONS = [
    {},
    {"bias": False, "batch_first": True},
    {"num_layers": 2, "bidirectional": True},
    {"num_layers": 2, "dropout": 0.4},
    {"return_sequences": False, "bidirectional": True, "batch_first": True},
]


@pytest.mark.parametrize("lengths", [None, [4, 1, 0]], ids=["whole", "lengths"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@each_kind
def test_recurrent_layers_have_the_right_gradients(kind, options, lengths):
    layer = KINDS[kind](3, 5, return_state=False, **options, **F64)
    x = normal(3, 4, 3) if options.get("batch_first") else normal(4, 3, 3)

    def same_zeros():
        layer.rng = np.random.default_rng(5)

    class WithLengths(nn.Module):
        def __init__(self):
            self.layer = layer

        def forward(self, x):
            return self.layer(x, lengths=lengths)

    gradcheck(WithLengths(), x, before=same_zeros, entries=40)


@each_kind
def test_the_final_state_and_the_initial_one_have_the_right_gradients(kind):
    layer = KINDS[kind](3, 4, num_layers=2, bidirectional=True, **F64)
    x, lengths = normal(5, 3, 3), [5, 2, 3]
    hx = tuple(normal(4, 3, 4, seed=i) for i in range(layer.states))
    output, final = layer(x, hx, lengths=lengths)
    dys = [np.cos(np.arange(a.size)).reshape(a.shape) for a in (output, *states(final))]

    def objective():
        output, final = layer(x, hx, lengths=lengths)
        return sum(float(np.sum(a * dy)) for a, dy in zip((output, *states(final)), dys))  # noqa: B905

    dx, *dhx = layer.backward((dys[0], tuple(dys[1:])))
    for array, gradient in zip((x, *hx), (dx, *dhx), strict=True):
        expected = central_differences(objective, array)
        np.testing.assert_allclose(gradient.ravel(), expected, rtol=1e-6, atol=1e-8)


@each_kind
def test_a_gradient_that_is_left_out_is_one_of_zeros(kind):
    layer, x = KINDS[kind](3, 4, **F64), normal(5, 2, 3)
    y, _ = layer(x)
    dx = layer.backward(y)
    layer(x)
    np.testing.assert_array_equal(layer.backward((y, None)), dx)
    layer(x)
    assert layer.backward(y, input_grad=False) is None


# ---- lengths, and what is returned ----


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=str)
@each_kind
def test_padded_sequences_give_what_each_gives_alone(kind, options):
    layer = KINDS[kind](3, 4, batch_first=True, **options, **F64)
    x, lengths = normal(3, 6, 3), [2, 6, 3]
    for i, length in enumerate(lengths):
        x[i, length:] = np.nan
    y, final = layer(x, lengths=lengths)
    dx = layer.backward((np.ones_like(y), tuple(np.ones_like(a) for a in states(final))))
    grads = [p.grad for p in layer.parameters()]
    layer.zero_grad()
    for i, length in enumerate(lengths):
        one, own = layer(x[i : i + 1, :length])
        np.testing.assert_allclose(y[i, :length], one[0], rtol=1e-12)
        assert not y[i, length:].any() and not dx[i, length:].any()
        for all_of_them, alone in zip(states(final), states(own), strict=True):
            np.testing.assert_allclose(all_of_them[:, i], alone[:, 0], rtol=1e-12)
        own_dx = layer.backward((np.ones_like(one), tuple(np.ones_like(a) for a in states(own))))
        np.testing.assert_allclose(dx[i, :length], own_dx[0], rtol=1e-10, atol=1e-13)
    for grad, p in zip(grads, layer.parameters(), strict=True):
        np.testing.assert_allclose(grad, p.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("bidirectional", [False, True])
@each_kind
def test_the_last_output_is_that_of_each_direction(kind, bidirectional):
    options = {"num_layers": 2, "bidirectional": bidirectional, **F64}
    layer, x = KINDS[kind](3, 4, **options), normal(5, 2, 3)
    last = KINDS[kind](3, 4, return_sequences=False, **options)
    _, final = layer(x, lengths=[5, 2])
    h = states(final)[0]
    expected = np.concatenate(h[-2:] if bidirectional else h[-1:], axis=1)
    y, again = last(x, lengths=[5, 2])
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(states(again)[0], h)


@each_kind
def test_no_steps_leave_the_state_as_it_is(kind):
    layer = KINDS[kind](3, 4, **F64)
    hx = tuple(normal(1, 2, 4, seed=i) for i in range(layer.states))
    y, final = layer(np.zeros((0, 2, 3)), hx)
    assert y.shape == (0, 2, 4)
    for given, found in zip(hx, states(final), strict=True):
        np.testing.assert_array_equal(found, given)
    assert layer.backward(y)[0].shape == (0, 2, 3)


def test_dropout_is_between_the_layers_and_in_training_only():
    layer, x = nn.GRU(3, 4, 2, dropout=1.0, return_state=False, **F64), normal(5, 2, 3)
    silent = layer(x * 0)
    np.testing.assert_array_equal(layer(x), silent)  # nothing gets through
    assert (layer(x, training=False) != silent).any()
    one = nn.GRU(3, 4, dropout=1.0, return_state=False, **F64)
    np.testing.assert_array_equal(one(x), one.eval()(x))
    first, again = (nn.GRU(3, 4, 2, dropout=0.5, return_state=False, **F64)(x) for _ in range(2))
    np.testing.assert_array_equal(first, again)


# ---- in models ----


class Translator(nn.Module):
    """The final state of one layer is the initial one of another."""

    def __init__(self, kind):
        self.encoder, self.decoder = (KINDS[kind](3, 4, **F64) for _ in range(2))

    def forward(self, x, z):
        _, state = self.encoder(x)
        y, final = self.decoder(z, state)
        return y[-1] + states(final)[-1][0]


@each_kind
def test_gradients_flow_through_states_in_a_model(kind):
    model, x, z = Translator(kind), normal(4, 2, 3), normal(3, 2, 3, seed=1)
    y = model(x, z)
    dx, dz = model.backward(np.ones_like(y))
    for array, gradient in ((x, dx), (z, dz)):
        expected = central_differences(lambda: float(model(x, z).sum()), array)
        np.testing.assert_allclose(gradient.ravel(), expected, rtol=1e-6, atol=1e-8)
    assert all(p.grad.any() for p in model.parameters())


class Reader(nn.Module):
    """An embedding, a layer of which only the state is used, and a linear one."""

    def __init__(self, kind):
        self.embedding = nn.Embedding(11, 3, padding_idx=0, **F64)
        self.recurrent = KINDS[kind](3, 4, batch_first=True, **F64)
        self.head = nn.Linear(4, 2, **F64)

    def forward(self, x):
        _, state = self.recurrent(self.embedding(x))
        h = state[0] if isinstance(state, tuple) else state
        return self.head(h[0])


@each_kind
def test_a_model_of_whole_numbers_trains(kind):
    model, x = Reader(kind), np.random.default_rng(0).integers(1, 11, (5, 6))
    y = model(x, lengths=[6, 2, 3, 1, 4])
    assert y.shape == (5, 2)
    assert model.backward(np.ones_like(y)) is None
    weight = model.embedding.weight
    expected = central_differences(
        lambda: float(model(x, lengths=[6, 2, 3, 1, 4]).sum()), weight.data
    )
    np.testing.assert_allclose(weight.grad[1:].ravel(), expected[3:], rtol=1e-6, atol=1e-9)


@each_kind
def test_a_model_has_a_summary_a_plan_a_copy_and_a_compiled_twin(kind, capsys):
    model, x = Reader(kind).eval(), np.random.default_rng(0).integers(0, 11, (5, 6))
    model.summary((6,))
    assert "(None, 6, 4)" in capsys.readouterr().out
    model.plan((6,))
    y = model(x)
    np.testing.assert_array_equal(copy.deepcopy(model)(x), y)
    np.testing.assert_allclose(bn.compile(model)(x), y, rtol=1e-12)
    predict = bn.compile(model)
    for _ in range(2):
        np.testing.assert_allclose(predict(x[::-1].copy()), y[::-1], rtol=1e-12)


def test_a_sequential_has_recurrent_layers_that_return_no_state():
    model = nn.Sequential(
        nn.Embedding(11, 3, **F64),
        nn.LSTM(3, 4, batch_first=True, return_state=False, **F64),
        nn.GRU(4, 5, batch_first=True, return_sequences=False, return_state=False, **F64),
    )
    y = model(np.zeros((2, 6), np.int32), lengths=[6, 2])
    assert y.shape == (2, 5) and model.output_shape((6,)) == (5,)
    model.backward(y)
    assert all(p.grad.shape == p.shape for p in model.parameters())


def test_a_hook_sees_all_outputs():
    seen, model = [], Reader("LSTM")
    model.recurrent.register_forward_hook(lambda layer, inputs, y: seen.append(len(y)))
    model(np.zeros((2, 3), int))
    assert seen == [3]


def test_an_output_that_was_changed_in_place_is_an_error():
    layer = nn.LSTM(3, 4, rng=0)
    with bn.check_inputs():
        y, _ = layer(normal(5, 2, 3, dtype=np.float32))
    y += 1
    with pytest.raises(RuntimeError, match="of LSTM was changed in place"):
        layer.backward(y)


def test_a_classifier_of_texts_learns_which_word_was_in_a_text(rng):
    model = nn.models.text_classifier(9, 2, 8, 16, bidirectional=True, rng=0)
    texts, lengths = rng.integers(1, 9, (64, 6)), rng.integers(1, 7, 64)
    there = (texts == 3) & (np.arange(6) < lengths[:, None])
    target = there.any(axis=1).astype(int)
    criterion, optimizer = nn.CrossEntropyLoss(), nn.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        logits = model(texts, lengths=lengths)
        criterion(logits, target)
        optimizer.zero_grad()
        model.backward(criterion.backward())
        optimizer.step()
    assert (logits.argmax(axis=1) == target).all()
    assert not model.embedding.weight.data[0].any()
    texts[np.arange(6) >= lengths[:, None]] = 0  # what is behind a text does not matter
    np.testing.assert_array_equal(model(texts, lengths=lengths).argmax(axis=1), target)


# ---- Embedding ----


def test_an_embedding_adds_the_gradients_of_equal_numbers():
    layer, x = nn.Embedding(5, 2, **F64), np.array([[1, 3], [3, 3]], np.uint8)
    y = layer(x)
    np.testing.assert_array_equal(y, layer.weight.data[x])
    dy = normal(2, 2, 2)
    layer.backward(dy)
    expected = np.zeros((5, 2))
    np.add.at(expected, x, dy)
    np.testing.assert_allclose(layer.weight.grad, expected, rtol=1e-12)


@pytest.mark.parametrize("padding_idx", [1, -4])
def test_the_padding_of_an_embedding_is_zero_and_does_not_train(padding_idx):
    layer, x = nn.Embedding(5, 2, padding_idx, **F64), np.arange(5)
    assert not layer.weight.data[1].any() and layer.weight.data[[0, 2, 3, 4]].all()
    layer(x)
    layer.backward(np.ones((5, 2)))
    np.testing.assert_array_equal(layer.weight.grad[:, 0], [1, 0, 1, 1, 1])


def test_an_embedding_of_nothing_has_a_gradient_of_zeros():
    layer = nn.Embedding(5, 2, rng=0)
    y = layer(np.zeros((0, 3), int))
    assert y.shape == (0, 3, 2) and y.dtype == np.float32
    layer.backward(y)
    assert layer.weight.grad.shape == (5, 2) and not layer.weight.grad.any()


# ---- errors ----

X3 = np.ones((4, 2, 3), np.float32)
H = np.zeros((1, 2, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.LSTM(0, 4), "input_size must be a positive integer, got 0"),
        (lambda: nn.LSTM(3, 4, dropout=2), "dropout must be between 0 and 1, got 2"),
        (lambda: nn.LSTM(3, 4, bias=1), "bias must be True or False, got 1"),
        (lambda: nn.RNN(3, 4, 1, "gelu"), "nonlinearity must be 'tanh' or 'relu', got 'gelu'"),
        (
            lambda: nn.GRU(3, 4)(X3[0]),
            r"GRU takes sequences of shape \(T, N, 3\), got shape \(2, 3\)",
        ),
        (
            lambda: nn.GRU(5, 4, batch_first=True)(X3),
            r"GRU takes sequences of shape \(N, T, 5\), got shape \(4, 2, 3\)",
        ),
        (lambda: nn.GRU(5, 4).output_shape((3, 4)), "GRU takes sequences of 5 features"),
        (lambda: nn.LSTM(3, 4)(X3, H), r"hx of LSTM must be a pair \(h_0, c_0\), got one v"),
        (lambda: nn.GRU(3, 4)(X3, (H, H)), "hx of GRU must be one array, got 2"),
        (
            lambda: nn.GRU(3, 4)(X3, H[:, :1]),
            r"h_0 of GRU must have shape \(1, 2, 4\), got \(1, 1, 4\)",
        ),
        (
            lambda: nn.GRU(3, 4)(X3, H.astype(np.float64)),
            "h_0 of GRU must be float32, as x, got float64",
        ),
        (lambda: nn.GRU(3, 4)(X3, lengths=[1, 5]), "lengths must be between 0 and 4, got 1 to 5"),
        (lambda: back((X3, H, H)), "dy of GRU must have the gradients of 1 states at most, got 2"),
        (lambda: nn.Embedding(3, 2, 3), "padding_idx must be None or between -3 and 2, got 3"),
        (lambda: nn.Embedding(3, 2)(X3), "x of Embedding must hold integers, got float32"),
        (
            lambda: nn.Embedding(3, 2)(np.array([0, 3])),
            "x of Embedding must be between 0 and 2, got 0 to 3",
        ),
        (
            lambda: nn.Sequential(nn.Linear(3, 2))(np.ones((2, 3), int)),
            "x of Sequential must be float32 or float64, got int64",
        ),
        (
            lambda: nn.Sequential(nn.Embedding(3, 2))(np.ones((2, 3), bool)),
            "x of Sequential must be integers, float32 or float64, got bool",
        ),
        (
            lambda: nn.Sequential(nn.Embedding(3, 2))(np.ones((2, 3), object)),
            "x of Sequential must be integers, float32 or float64, got object",
        ),
        (
            lambda: nn.Sequential(nn.LSTM(3, 4), nn.Linear(4, 2))(X3),
            r"must return one array, got 2 values from LSTM \(return_state=False leaves the state",
        ),
        (
            lambda: nn.Sequential(nn.GRU(3, 4)).summary((4, 3)),
            "a layer in a Sequential must return one array, got 2 values from GRU",
        ),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def back(gradients):
    """Give these gradients to a layer whose output they fit."""
    layer = nn.GRU(3, 3)
    layer(X3)
    return layer.backward(gradients)
