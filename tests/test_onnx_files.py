"""`bn.onnx.export` and `bn.onnx.load`: what they write, what they refuse, and hostile files."""

import pickle
import re
import tracemalloc

import numpy as np
import pytest
from onnx_models import Branches, samples, settled

import bn
from bn import nn

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
MEBIBYTE = 2**20


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


# ---- export ----

NOT_IN_ONNX = {"FeatureAxes"}  # layers that no operator stands for, or that nobody has written yet


def test_each_layer_can_be_written_or_is_known_not_to_be():
    from bn.onnx.layers_out import writer_of

    public = [getattr(module, name) for module in (nn, bn.layers) for name in module.__all__]
    layers = {
        each
        for each in public
        if isinstance(each, type) and issubclass(each, nn.Module) and "forward" in dir(each)
    }
    layers = {each for each in layers if each.forward is not nn.Module.forward}
    missing = {each.__name__ for each in layers if not each.records and writer_of(each) is None}
    assert missing == NOT_IN_ONNX


def test_initializers_have_the_names_of_the_state(path):
    model = settled(Branches(), (3, 6, 6))
    bn.onnx.export(model, path, (3, 6, 6))
    names = {tensor.name for tensor in onnx.load(path).graph.initializer}
    assert names >= {n for n in model.state_dict() if "num_batches" not in n}


def test_the_batch_axis_is_free_and_the_others_are_fixed(path):
    bn.onnx.export(settled(Branches(), (3, 6, 6)), path, (3, 6, 6))
    graph = onnx.load(path).graph
    shapes = [
        [d.dim_param or d.dim_value for d in each.type.tensor_type.shape.dim]
        for each in (*graph.input, *graph.output)
    ]
    assert shapes == [["N", 3, 6, 6], ["N", 2]]
    assert [each.name for each in (*graph.input, *graph.output)] == ["x", "y"]


def test_a_model_in_training_mode_is_written_as_in_eval_mode_and_stays_as_it_is(path):
    model = settled(Branches(), (3, 6, 6)).train()
    before = model.state_dict()
    bn.onnx.export(model, path, (3, 6, 6))
    (node,) = [n for n in onnx.load(path).graph.node if n.op_type == "BatchNormalization"]
    assert len(node.output) == 1
    assert model.training
    assert model.norm.training
    assert all((before[n] == a).all() for n, a in model.state_dict().items())


def test_float64_becomes_float32(path):
    bn.onnx.export(nn.Linear(2, 3, dtype="f8", rng=0), path, (2,))
    assert {t.data_type for t in onnx.load(path).graph.initializer} == {onnx.TensorProto.FLOAT}
    layer = nn.Linear(2, 3, dtype="f8", rng=0)
    layer.weight.data[0, 0] = 1e300
    with pytest.raises(ValueError, match="weight must hold numbers that fit float32"):
        bn.onnx.export(layer, path, (2,))


def test_a_file_is_replaced_in_one_step(path):
    bn.onnx.export(nn.Linear(2, 3), path, (2,))
    before = path.read_bytes()
    with pytest.raises(TypeError):
        bn.onnx.export(nn.Sequential(Own()), path, (2,))
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["model.onnx"]


class Own(nn.Module):
    """A layer that ONNX has not."""

    def forward(self, x):
        self.keep(x)
        return x

    def backward(self, dy):
        return dy

    def output_shape(self, input_shape):
        return input_shape


class OwnReLU(nn.ReLU):
    pass


class Model(nn.Module):
    """A model of one line."""

    def __init__(self, line):
        self.line, self.lstm = line, nn.LSTM(3, 3, batch_first=True)

    def forward(self, x):
        return self.line(self, x)


def built(layer):
    layer(np.ones((2, 4, 3), np.float32))
    return nn.Sequential(layer)


REFUSED = {
    "an own layer": (nn.Sequential(nn.ReLU(), Own()), TypeError, "got Own at 1: a class of your"),
    "an own subclass": (nn.Sequential(OwnReLU()), TypeError, "got OwnReLU at 0: a class of your"),
    "feature axes": (
        built(bn.FeatureAxes(bn.BatchNormalization(), (1, 2))),
        TypeError,
        "got FeatureAxes at 0: there is no such operator",
    ),
    "axes in the middle": (
        built(bn.LayerNormalization(axis=1)),
        TypeError,
        r"got LayerNormalization at 0: its axes must be the last ones, got \(1,\)",
    ),
    "a low threshold": (
        nn.Sequential(nn.Softplus(threshold=1.0)),
        TypeError,
        "got Softplus at 0: its threshold must be at least 15",
    ),
    "numbers that are looked at": (Model(lambda _, x: x * x.data.sum()), TypeError, "numbers"),
    "an option": (
        Model(lambda self, x: self.lstm(x, lengths=[1] * len(x))[0]),
        TypeError,
        "got LSTM at lstm: it is called with lengths=",
    ),
    "an array that depends on the batch": (
        Model(lambda _, x: x + np.ones((len(x), 1, 1), np.float32)),
        ValueError,
        "must do the same for each number of samples, but not so add",
    ),
    "another number of calls": (
        Model(lambda _, x: x + 1 if len(x) == 2 else (x + 1) + 1),
        ValueError,
        "not so the number of its calls",
    ),
    "several outputs": (nn.LSTM(3, 4), TypeError, "must return one array, got LSTM"),
    "no model": (3, TypeError, "model must be"),
    "a layer that is not built": (nn.Linear(None, 3), RuntimeError, "must be built"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_onnx_cannot_be_told_is_refused_by_name(path, name):
    model, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        bn.onnx.export(model, path, (4, 3))
    assert not path.exists()


def test_images_whose_windows_overlap_are_refused(path):
    model = nn.Sequential(nn.AdaptiveAvgPool2d(3))
    with pytest.raises(TypeError, match="got AdaptiveAvgPool2d at 0: its windows must lie side"):
        bn.onnx.export(model, path, (1, 8, 7))
    model = nn.Sequential(nn.Upsample(scale_factor=1.1))
    with pytest.raises(TypeError, match="got Upsample at 0: its scale_factor must give whole"):
        bn.onnx.export(model, path, (1, 5, 5))


def test_training_that_onnx_has_not_is_refused(path):
    for layer, words in (
        (bn.GhostBatchNorm(bn.BatchNorm1d(3), 2), "no statistics of parts of a batch"),
        (bn.BatchNorm1d(3, momentum=None), "running statistics must be moving averages"),
        (bn.preset("darknet", 3), "its output in training is no plain normalization"),
    ):
        with pytest.raises(TypeError, match=words):
            bn.onnx.export(nn.Sequential(layer), path, (3,), training=True)


def test_wrong_arguments_of_export_are_refused(path):
    model = nn.Linear(2, 3)
    for error, words, options in (
        (TypeError, "input_shape must be a tuple of integers", {"input_shape": 2}),
        (ValueError, "2 features", {"input_shape": (3,)}),
        (ValueError, "opset must be from 21 to 23, got 20", {"opset": 20}),
        (TypeError, "opset must be an integer", {"opset": "21"}),
        (TypeError, "training must be", {"training": 1}),
    ):
        with pytest.raises(error, match=words):
            bn.onnx.export(model, path, **{"input_shape": (2,), **options})


def test_a_missing_package_is_one_sentence(path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    words = r"needs onnx, which is not installed: pip install '\.\[onnx\]' in a checkout of bn$"
    with pytest.raises(ImportError, match=r"^bn\.onnx\.export " + words):
        bn.onnx.export(nn.Linear(2, 3), path, (2,))
    with pytest.raises(ImportError, match=r"^bn\.onnx\.load " + words):
        bn.onnx.load(path)


# ---- load ----


def test_a_loaded_model_has_the_names_trains_and_can_be_pickled(path):
    model, x = settled(Branches(), (3, 6, 6)), samples((3, 6, 6))
    bn.onnx.export(model, path, (3, 6, 6))
    there = pickle.loads(pickle.dumps(bn.onnx.load(path)))
    assert not any(module.training for module in there.modules())
    assert set(there.state_dict()) == set(model.state_dict()) - {"scale"}
    np.testing.assert_allclose(there(x), model(x), rtol=1e-4, atol=1e-5)
    dy = np.ones((3, 2), np.float32)
    np.testing.assert_allclose(there.backward(dy), model.backward(dy), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(
        there.mix.weight.grad, model.mix.weight.grad, rtol=1e-3, atol=1e-4
    )  # a layer that is called twice is one layer
    compiled = bn.compile(there.eval(), (3, 6, 6))
    np.testing.assert_allclose(compiled(x), model(x), rtol=1e-4, atol=1e-5)


ONE = np.ones(1, np.float32)


def graph(nodes, tensors=(), inputs=("x",), outputs=("y",), opset=21, **options):
    """Return a model of these nodes."""
    values = [
        [helper.make_tensor_value_info(name, 1, None) for name in names]
        for names in (inputs, outputs)
    ]
    made = helper.make_graph(nodes, "g", *values, list(tensors))
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(made, opset_imports=opsets, ir_version=10, **options)


def tensor(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def loaded(path, model):
    path.write_bytes(model.SerializeToString())
    return bn.onnx.load(path)


def refused(path, model):
    """Load a file that must be refused; return why it is, after a check that it took little."""
    content = model if isinstance(model, bytes) else model.SerializeToString()
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"model\.onnx is not a usable ONNX model: ") as error:
            bn.onnx.load(path)
        assert tracemalloc.get_traced_memory()[1] < 8 * MEBIBYTE + 16 * len(content)
    finally:
        tracemalloc.stop()
    return str(error.value).partition(" ONNX model: ")[2]


def relu(**attributes):
    return helper.make_node("Relu", ["x"], ["y"], **attributes)


def conv(shape=(2, 3, 3, 3), **attributes):
    weight = tensor("w", np.ones(shape, np.float32))
    return graph([helper.make_node("Conv", ["x", "w"], ["y"], **attributes)], [weight])


def call(operator, *constants, **attributes):
    """Return a graph of one node whose inputs behind the first are constants."""
    names = [f"c{i}" for i in range(len(constants))]
    tensors = [tensor(n, c) for n, c in zip(names, constants, strict=True)]
    return graph([helper.make_node(operator, ["x", *names], ["y"], **attributes)], tensors)


@pytest.mark.parametrize(
    ("way", "pads"), [("SAME_UPPER", [1, 1, 1, 2]), ("SAME_LOWER", [1, 2, 1, 1])]
)
def test_padding_that_keeps_the_length_is_read(path, way, pads):
    attributes = {"dilations": [2, 1]}
    found, expected = (
        loaded(path, conv((2, 3, 2, 4), **attributes, **each))
        for each in ({"auto_pad": way}, {"pads": pads})
    )
    x = samples((3, 5, 6))
    assert found(x).shape == (len(x), 2, 5, 6)
    np.testing.assert_array_equal(found(x), expected(x))


def parts_of_the_shape(value, *axes):
    """Return nodes that take the lengths of some axes, as PyTorch writes size(i)."""
    nodes = [helper.make_node("Shape", [value], ["s"])]
    for axis in axes:
        nodes += [
            helper.make_node("Gather", ["s", f"i{axis}"], [f"g{axis}"]),
            helper.make_node("Unsqueeze", [f"g{axis}", "zero"], [f"n{axis}"]),
        ]
    return nodes


SIZES = [tensor(f"i{i}", np.array(i)) for i in range(3)] + [
    tensor("zero", np.array([0])),
    tensor("rest", np.array([-1])),
]


def reshaping(value, *names, axes=(0,)):
    """Return a graph that reshapes x by lengths of axes of a value, and constants."""
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        *parts_of_the_shape(value, *axes),
        helper.make_node("Concat", names, ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["y"]),
    ]
    return graph(nodes, SIZES)


@pytest.mark.parametrize("count", [1, 4])
def test_a_reshape_keeps_the_axes_whose_lengths_it_asks_for(path, count):
    x = np.ones((count, 3, 4, 5), np.float32)
    found = loaded(path, reshaping("x", "n0", "rest"))
    assert found(x).shape == (count, 60)
    bn.onnx.export(found, path, (3, 4, 5))
    assert bn.onnx.load(path)(x).shape == (count, 60)
    both = loaded(path, reshaping("x", "n0", "n1", "rest", axes=(0, 1)))
    assert both(x).shape == (count, 3, 20)


@pytest.mark.parametrize(
    "model",
    [reshaping("r", "n0", "rest"), reshaping("x", "n1", "rest", axes=(1,))],
    ids=["of another value", "on another axis"],
)
def test_a_reshape_to_other_lengths_is_refused(path, model):
    assert "Reshape must not compute with a number of a shape" in refused(path, model)


def test_numbers_of_shapes_that_a_file_doubles_take_no_memory(path):
    nodes, name = parts_of_the_shape("x", 0), "n0"
    for i in range(40):
        nodes.append(helper.make_node("Concat", [name, name], [f"d{i}"], axis=0))
        name = f"d{i}"
    nodes.append(helper.make_node("Reshape", ["x", name], ["y"]))
    words = "Reshape must not compute with a number of a shape"
    assert words in refused(path, graph(nodes, SIZES))


@pytest.mark.parametrize("stop", [2, 3])
def test_images_are_resized_to_a_size_behind_the_lengths_of_their_first_axes(path, stop):
    tensors = [tensor("start", np.array([0])), tensor("stop", np.array([stop]))]
    tensors.append(tensor("size", np.array([6, 8][stop - 2 :])))
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Slice", ["s", "start", "stop"], ["n"]),
        helper.make_node("Concat", ["n", "size"], ["to"], axis=0),
        helper.make_node(
            "Resize", ["x", "", "", "to"], ["y"], mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        ),
    ]  # fmt: skip
    model = graph(nodes, tensors)
    if stop == 3:  # the height stays, which nn.Upsample cannot say
        assert "size must be" in refused(path, model)
        return
    x = samples((2, 3, 4))
    np.testing.assert_array_equal(loaded(path, model)(x), nn.Upsample((6, 8))(x))


UNKNOWN = {
    "an operator": (call("Erf"), "its operators must be those of bn.nn, got Erf"),
    "a domain": (
        graph([helper.make_node("Relu", ["x"], ["y"], domain="com.microsoft")]),
        r"its operators must be ONNX's own, got com\.microsoft\.Relu",
    ),
    "an attribute": (graph([relu(slope=2)]), "Relu must have no attribute slope"),
    "a value of an attribute": (
        call("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]), "dilations of MaxPool must be",
    ),
    "a type of an attribute": (call("LeakyRelu", alpha=[0.1]), "alpha of LeakyRelu must be like"),
    "an attribute that is missing": (call("MaxPool"), "MaxPool must have the attribute kernel_s"),
    "an input too many": (
        graph([helper.make_node("Relu", ["x", "x"], ["y"])]), "Relu must have no input 1, got x",
    ),
    "an output too many": (
        graph([helper.make_node("MaxPool", ["x"], ["y", "z"], kernel_shape=[2, 2])]),
        "MaxPool must have no output z behind the first",
    ),
    "a weight that is no constant": (
        graph([helper.make_node("Conv", ["x", "w"], ["y"])], inputs=("x", "w")),
        "input 1 of Conv must be constant, got 'w'",
    ),
    "a product of two values": (
        graph([helper.make_node("MatMul", ["x", "x"], ["y"])]), "input 1 of MatMul must be const",
    ),
    "a kernel of volumes": (conv((2, 3, 3, 3, 3)), "must be of signals or images"),
    "another kernel": (conv(kernel_shape=[5, 5]), "kernel_shape of Conv must be that of its wei"),
    "pads that follow the length": (
        conv(auto_pad="SAME_UPPER", strides=[2, 2]), "auto_pad of Conv must be 'NOTSET', got 'SAME",
    ),
    "pads of words": (conv(auto_pad="FULL"), "auto_pad of Conv must be 'NOTSET', got 'FULL'"),
    "no groups": (conv(group=0), "must be of signals or images"),
    "groups that do not divide": (conv(group=3), "groups"),
    "an old opset": (graph([relu()], opset=12), "its opset must be at least 13, got 12"),
    "two outputs": (
        graph([relu(), helper.make_node("Tanh", ["x"], ["z"])], outputs=("y", "z")),
        "it must have one output, got 2",
    ),
    "a constant output": (
        graph([helper.make_node("Constant", [], ["y"], value_float=1.0)]),
        "its output y must depend on the input",
    ),
    "a clip": (call("Clip", np.float32(0), np.float32(1)), "Clip must be from 0 to 6"),
    "a pad of samples": (
        call("Pad", np.array([1, 0, 0, 0, 0, 0, 0, 0])), "must leave samples and channels alone",
    ),
    "cubic": (call("Resize", ONE, np.ones(4, np.float32), mode="cubic"), "one of nn.Upsample's"),
    "mixed axes": (
        call("Slice", np.array([0, 0]), np.array([1, 1]), np.array([0, -1])),
        "axes must all be counted from the front or from the back",
    ),
    "a far axis": (call("Unsqueeze", np.array([2**40])), "axes must all be counted"),
    "computing with sizes": (
        graph([helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Relu", ["s"], ["y"])]),
        "Relu must not compute with a shape",
    ),
    "filling with ones": (
        call("Expand", np.array([2])), "Expand must make zeros for a recurrent layer",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_bn_has_not_is_refused_by_name(path, name):
    model, words = UNKNOWN[name]
    assert re.search(words, refused(path, model))


# ---- hostile files ----


def external(path):
    """Return a model whose weight lies in another file."""
    model = call("Add", ONE)
    (weight,) = model.graph.initializer
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=str(path))
    return model


def test_tensors_in_other_files_are_refused(path, tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(4))
    for place in (secret, "secret.bin", "../secret.bin"):
        assert "c0 must lie in the file itself" in refused(path, external(place))
    model = call("Add", ONE)
    (weight,) = model.graph.initializer
    weight.external_data.add(key="location", value="secret.bin")
    assert "c0 must lie in the file itself" in refused(path, model)


def changed(change):
    model = call("Add", np.ones(2, np.float32))
    change(model.graph.initializer[0])
    return model


def test_a_tensor_whose_numbers_are_not_there_is_refused(path):
    for change in (
        lambda t: t.dims.__setitem__(0, 2**40),
        lambda t: t.dims.extend([2**62, 2**62]),
        lambda t: t.dims.__setitem__(0, 1),
        lambda t: t.ClearField("raw_data"),
        lambda t: t.float_data.extend([1.0]) or t.ClearField("raw_data"),
    ):
        assert "c0 must have the numbers that its shape" in refused(path, changed(change))
    assert "shape of up to 32 axes" in refused(path, changed(lambda t: t.dims.extend([1] * 40)))
    assert "shape of up to 32 axes" in refused(path, changed(lambda t: t.dims.extend([-1])))
    for kind in (0, 8, 14, 17, 99):  # none, texts, complex numbers, float8, unknown
        words = refused(path, changed(lambda t, kind=kind: setattr(t, "data_type", kind)))
        assert "c0 must have" in words


def test_cycles_and_names_that_are_made_twice_are_refused(path):
    one, other = (helper.make_node("Relu", [a], [b]) for a, b in (("b", "a"), ("a", "b")))
    assert "b must be made before Relu needs it" in refused(path, graph([one, other]))
    own = helper.make_node("Relu", ["y"], ["y"])
    assert "y must be made before Relu" in refused(path, graph([own]))
    assert "it must make y once" in refused(path, graph([relu(), relu()]))
    assert "it must make x once" in refused(path, graph([helper.make_node("Relu", ["x"], ["x"])]))
    assert "the name w once" in refused(path, graph([relu()], [tensor("w", ONE)] * 2))
    assert "different names" in refused(path, graph([relu()], inputs=("x", "x")))
    assert "Relu must have an output" in refused(path, graph([helper.make_node("Relu", ["x"], [])]))


def test_graphs_in_nodes_and_functions_are_refused(path):
    inner = graph([relu()]).graph
    node = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    assert "If must have no attribute like" in refused(path, graph([node]))
    opsets = [helper.make_opsetid("", 21)]
    function = helper.make_function("own", "f", ["x"], ["y"], [relu()], opsets)
    assert "no functions" in refused(path, graph([relu()], functions=[function]))


def test_deeply_nested_messages_are_refused(path):
    def field(number, content):
        """Return a field of protobuf that holds a message."""
        size, digits = len(content), []
        while size >= 128:
            digits.append(size % 128 + 128)
            size //= 128
        return bytes([number * 8 + 2, *digits, size]) + content

    content = b""
    for _ in range(5000):  # a graph in an attribute of a node of a graph
        content = field(1, field(5, field(6, content)))
    assert refused(path, field(7, content))


def test_tensors_that_many_layers_share_take_bounded_memory(path):
    nodes, weight = [], tensor("w", np.ones((256, 256), np.float32))
    for i in range(500):
        names = ["x" if i == 0 else f"v{i}", "w"], ["y" if i == 499 else f"v{i + 1}"]
        nodes.append(helper.make_node("Conv" if i % 2 else "MatMul", *names))
    many = [
        helper.make_node("Cast", ["w" if i == 0 else f"w{i}"], [f"w{i + 1}"], to=11 - 10 * (i % 2))
        for i in range(500)
    ]
    assert "its layers must take at most" in refused(path, graph([*many, relu()], [weight]))
    assert refused(path, graph(nodes, [weight]))


def test_hostile_paths_of_layers_do_not_reach_into_the_model(path):
    for name in ("__class__", "forward", "steps", "a..b", "a/../b", ".", "keep.x", "concatenate"):
        names = [f"{name}.weight", f"{name}.bias"]
        node = helper.make_node("Gemm", ["x", *names], ["y"], transB=1)
        tensors = [
            tensor(n, np.ones(s, np.float32)) for n, s in zip(names, [(2, 3), 2], strict=True)
        ]
        path.write_bytes(graph([node], tensors).SerializeToString())
        model = bn.onnx.load(path)
        assert list(model.state_dict()) == ["gemm_0.weight", "gemm_0.bias"], name
        assert model(np.ones((1, 3), np.float32)).shape == (1, 2)


def test_two_layers_never_share_a_path(path):
    weights = {"a.weight": np.ones((2, 2)), "a.b.weight": np.zeros((2, 2))}
    nodes = [
        helper.make_node("Gemm", ["x", "a.weight"], ["h"]),
        helper.make_node("Gemm", ["h", "a.b.weight"], ["y"]),
    ]
    tensors = [tensor(n, w.astype(np.float32)) for n, w in weights.items()]
    path.write_bytes(graph(nodes, tensors).SerializeToString())
    assert list(bn.onnx.load(path).state_dict()) == ["a.weight", "gemm_0.weight"]


def test_a_tensor_that_two_layers_use_in_two_ways_makes_two_layers(path):
    weight = np.arange(4, dtype=np.float32).reshape(2, 2)
    nodes = [
        helper.make_node("Gemm", ["x", "a.weight"], ["h"]),
        helper.make_node("Gemm", ["h", "a.weight"], ["i"], transB=1),
        helper.make_node("Transpose", ["a.weight"], ["w"], perm=[1, 0]),
        helper.make_node("MatMul", ["i", "a.weight"], ["j"]),
        helper.make_node("MatMul", ["j", "w"], ["y"]),
    ]
    path.write_bytes(graph(nodes, [tensor("a.weight", weight)]).SerializeToString())
    x = samples((2,))
    found, product = bn.onnx.load(path)(x), weight @ weight.T
    np.testing.assert_allclose(found, x @ product @ product, rtol=1e-5)


def attack(path, rng, cases):
    """Load files with random damage, and assert that they are refused or become models."""
    bn.onnx.export(settled(Branches(), (3, 6, 6)), path, (3, 6, 6))
    content, refusals = path.read_bytes(), 0
    for i in range(cases):
        harmed = bytearray(content)
        for place in rng.integers(0, len(content), 1 + i % 3):
            harmed[place] = rng.integers(256)
        path.write_bytes(harmed[: rng.integers(len(content))] if i % 5 == 0 else harmed)
        try:
            bn.onnx.load(path)
        except ValueError:
            refusals += 1
    assert refusals > cases // 10


def test_random_damage_is_an_error_or_leaves_a_model(path, rng):
    attack(path, rng, 150)


@pytest.mark.fuzz
def test_much_random_damage_is_an_error_or_leaves_a_model(path):
    attack(path, np.random.default_rng(1), 6000)


def test_a_file_that_is_none_is_refused(path, tmp_path):
    for content in (b"", b"no model", bytes(100), b"\x80" * 50):
        assert refused(path, content)
    with pytest.raises(FileNotFoundError):
        bn.onnx.load(tmp_path / "missing.onnx")
    with pytest.raises(OSError, match="directory"):
        bn.onnx.load(tmp_path)
