"""`python -m bn predict` goes from image files to classes."""

import os
import re
import tracemalloc

import numpy as np
import pytest

from bn import nn
from bn.cli import checkpoint, main, models
from bn.cli.data import Dataset, Pixels
from bn.cli.predict import read_image

Image = pytest.importorskip("PIL.Image")


def save_network(path, shape=(1, 8, 8), classes=("dark", "light")):
    """Save a network that tells light images from dark ones: the sum over all pixels decides."""
    model = models.build("tutorial-torch", shape, len(classes), norm="batch")
    conv, *_, linear = model
    for parameter in (*conv.parameters(), *linear.parameters()):
        parameter.data[...] = 0
    conv.weight.data[:, :, 1, 1] = 1
    linear.weight.data[1] = 0.1
    linear.bias.data[0] = 1
    y = np.zeros(2, np.int64)
    x = np.zeros((2, *shape), np.uint8)
    data = Dataset("made", classes, 255, x, y, x, y)
    channels = shape[0]
    checkpoint.save(
        path, model, "tutorial-torch", data, Pixels((0.0,) * channels, (1.0,) * channels)
    )
    return path


@pytest.fixture
def network(tmp_path):
    return save_network(tmp_path / "model.npz")


def picture(path, value, mode="L", size=(8, 8)):
    Image.new(mode, size, value).save(path)
    return path


def test_each_image_gets_a_line_with_class_and_probability(network, tmp_path, capsys):
    light = picture(tmp_path / "light.png", 255)
    dark = picture(tmp_path / "dark.png", 0)
    assert main(["predict", str(network), str(light), str(dark)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{light}: light ") and lines[0].endswith(" points above dark")
    assert lines[1] == f"{dark}: dark 73.1 %, 46.2 points above light"  # 1 / (1 + exp(-1))


def test_the_option_top_shows_more_classes_likeliest_first(network, tmp_path, capsys):
    dark = picture(tmp_path / "dark.png", 0)
    assert main(["predict", str(network), str(dark), "--top", "5"]) == 0
    assert capsys.readouterr().out == f"{dark}: dark 73.1 %, light 26.9 %\n"


def test_the_option_top_shows_all_classes_if_there_are_fewer(tmp_path, capsys):
    names = tuple("0123456789")
    network = save_network(tmp_path / "model.npz", classes=names)
    dark = picture(tmp_path / "dark.png", 0)
    shown = []
    for top in ("10", "30"):
        assert main(["predict", str(network), str(dark), "--top", top]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] and sorted(re.findall(r"[:,] (\d) ", shown[0])) == sorted(names)


def test_a_class_that_is_hardly_ahead_is_called_uncertain(network, tmp_path, capsys):
    image = picture(tmp_path / "image.png", 0)
    model, _ = checkpoint.load(network)
    list(model)[-1].bias.data[...] = [0.1, 0]
    nn.save(network, model, nn.metadata(network))
    for top, end in (("1", "52.5 %, 5.0 points above light"), ("2", "light 47.5 %")):
        assert main(["predict", str(network), str(image), "--top", top]) == 0
        line = capsys.readouterr().out
        assert line.endswith(f"{end} (uncertain)\n")


def test_one_class_has_no_second_one(tmp_path, capsys):
    about = nn.metadata(save_network(tmp_path / "two.npz"))
    model = models.build("tutorial-torch", (1, 8, 8), 1, norm="batch")
    nn.save(tmp_path / "one.npz", model, {**about, "classes": ["dark"]})
    dark = picture(tmp_path / "dark.png", 0)
    assert main(["predict", str(tmp_path / "one.npz"), str(dark)]) == 0
    assert capsys.readouterr().out == f"{dark}: dark 100.0 %\n"


def test_an_image_unlike_all_training_images_gets_a_warning(network, tmp_path, capsys):
    light = picture(tmp_path / "light.png", 255)  # the training images are black
    assert main(["predict", str(network), str(light)]) == 0
    warning = f"{light} is lighter than every training image: do not trust its class\n"
    assert capsys.readouterr().err == warning
    assert main(["predict", str(network), str(light), "--invert"]) == 0
    assert capsys.readouterr().err == ""


def test_a_network_of_an_earlier_version_does_not_know_its_training_images(
    network, tmp_path, capsys
):
    model, _ = checkpoint.load(network)
    about = nn.metadata(network)
    del about["light"]
    nn.save(network, model, about)
    light = picture(tmp_path / "light.png", 255)
    assert main(["predict", str(network), str(light)]) == 0
    assert capsys.readouterr().err == ""


def test_the_option_invert_swaps_light_and_dark(network, tmp_path, capsys):
    light = picture(tmp_path / "light.png", 255)
    assert main(["predict", str(network), str(light), "--invert"]) == 0
    assert ": dark 73.1 %" in capsys.readouterr().out


def test_an_image_gets_the_colour_and_size_of_the_network(tmp_path, capsys):
    network = save_network(tmp_path / "model.npz", (3, 16, 12))
    light = picture(tmp_path / "light.png", 255, size=(100, 30))
    clear = picture(tmp_path / "dark.png", (0, 0, 0, 255), "RGBA", (3, 3))
    assert main(["predict", str(network), str(light), str(clear)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert ": light" in lines[0] and ": dark" in lines[1]


def test_an_image_of_the_right_size_is_read_as_it_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    image = read_image(tmp_path / "image.png", (3, 5, 7))
    np.testing.assert_array_equal(image, pixels.transpose(2, 0, 1))


def test_16_bit_grey_keeps_its_shades(tmp_path):
    shades = (np.arange(64, dtype=np.uint16) * 1000).reshape(8, 8)
    Image.fromarray(shades).save(tmp_path / "image.png")
    np.testing.assert_array_equal(read_image(tmp_path / "image.png", (1, 8, 8))[0], shades >> 8)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_shades_without_a_known_white_are_refused(network, tmp_path, capsys, dtype):
    path = tmp_path / "image.tif"
    Image.fromarray(np.full((8, 8), 70_000, dtype)).save(path)
    assert main(["predict", str(network), str(path)]) == 1
    mode = {np.int32: "I", np.float32: "F"}[dtype]
    message = f"{path} must have 8 or 16 bits per channel, got pillow's mode {mode}\n"
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("mode", ["RGBA", "LA", "GIF"])
@pytest.mark.parametrize("channels", [1, 3])
def test_strokes_on_a_transparent_ground_are_strokes_on_white(tmp_path, mode, channels):
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    image.putpixel((2, 5), (0, 0, 0, 255))
    path = tmp_path / "image"
    if mode == "GIF":
        image.save(path, format="GIF")
    else:
        image.convert(mode).save(path, format="PNG")
    pixels = read_image(path, (channels, 8, 8))
    expected = np.full((channels, 8, 8), 255)
    expected[:, 5, 2] = 0
    np.testing.assert_array_equal(pixels, expected)


def test_an_image_is_made_smaller_by_the_mean_over_areas(tmp_path):
    pixels = np.zeros((16, 16), np.uint8)
    pixels[::2, ::2] = 200
    Image.fromarray(pixels).save(tmp_path / "image.png")
    np.testing.assert_array_equal(read_image(tmp_path / "image.png", (1, 8, 8)), 50)


def test_unreadable_images_get_a_sentence_each_and_the_others_are_classified(
    network, tmp_path, capsys
):
    text = tmp_path / "notes.png"
    text.write_text("not an image")
    cut = picture(tmp_path / "cut.png", 9, size=(300, 300))
    cut.write_bytes(cut.read_bytes()[:60])
    dark = picture(tmp_path / "dark.png", 0)
    gone = tmp_path / "gone.png"
    assert main(["predict", *map(str, (network, text, gone, cut, tmp_path, dark))]) == 1
    output = capsys.readouterr()
    assert output.out == f"{dark}: dark 73.1 %, 46.2 points above light\n"
    errors = output.err.splitlines()
    assert len(errors) == 4
    assert errors[0].startswith(f"{text} must be an image that pillow reads, got: ")
    assert errors[1] == f"{gone}: No such file or directory"
    assert errors[2].startswith(f"{cut} must be an image that pillow reads, got: ")
    assert errors[3].startswith(f"{tmp_path}")


def refuses(capsys, path, words):
    assert main(["predict", str(path), "image.png"]) == 1
    error = capsys.readouterr().err
    assert words in error and str(path) in error and error.count("\n") == 1


def test_a_file_that_is_no_checkpoint_is_refused_in_one_sentence(tmp_path, capsys):
    path = tmp_path / "model.npz"
    refuses(capsys, path, "No such file")
    path.write_bytes(b"no checkpoint")
    refuses(capsys, path, "is not a usable checkpoint")


def test_a_truncated_checkpoint_is_refused_in_one_sentence(network, capsys):
    network.write_bytes(network.read_bytes()[:-100])
    refuses(capsys, network, "is not a usable checkpoint")


def test_the_checkpoint_of_a_network_that_diverged_is_refused_in_one_sentence(network, capsys):
    model, _ = checkpoint.load(network)
    next(iter(model.parameters())).data[...] = np.nan
    nn.save(network, model, nn.metadata(network))
    refuses(capsys, network, "must hold a network of finite numbers, got NaN or infinity in 0.weig")


def test_a_checkpoint_with_a_variance_below_0_is_refused_in_one_sentence(network, capsys):
    model, _ = checkpoint.load(network)
    next(a for name, a in model.named_state() if name.endswith("running_var"))[1] = -1
    nn.save(network, model, nn.metadata(network))
    refuses(capsys, network, "must hold variances of at least 0, got less in 1.running_var")


GOOD = {
    "model": "tutorial-torch",
    "input_shape": [1, 8, 8],
    "classes": ["dark", "light"],
    "mean": [0.0],
    "std": [1.0],
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mean": None}, "must be a checkpoint of `bn train`, got one without mean"),
        (
            {"model": "vgg"},
            "must hold one of digits, tutorial-torch, tutorial-keras, resnet, resnet20, resnet32,",
        ),
        ({"input_shape": [2, 8, 8]}, "(1 or 3, at least 4, at least 4), got [2, 8, 8]"),
        ({"classes": []}, "must have a list of names as classes, got []"),
        (
            {"model": ["digits"]},
            "must hold one of digits, tutorial-torch, tutorial-keras, resnet, resnet20,",
        ),
        ({"mean": [float("nan")]}, "must have finite numbers as mean, got [nan]"),
        ({"std": [0.0]}, "must have finite numbers above 0 as std, got [0.0]"),
        ({"std": [-1.0]}, "must have finite numbers above 0 as std, got [-1.0]"),
        ({"std": [1.0, 1.0]}, "must have 1 numbers as std, got [1.0, 1.0]"),
        ({"light": {"brightness": [0.0]}}, "must have two numbers as brightness and as contrast"),
        (
            {"norm": "paint"},
            "must have one of batch, group, layer, instance, none as norm, got 'pai",
        ),
        ({"norm": ["batch"]}, "instance, none as norm, got ['batch']"),
        ({"light": []}, "must have two numbers as brightness and as contrast in light, got []"),
        ({"input_shape": [1, 3, 9]}, "(1 or 3, at least 4, at least 4), got [1, 3, 9]"),
        ({"input_shape": [1, 9, 10]}, "5.weight must have shape"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_in_one_sentence(
    tmp_path, capsys, changes, words
):
    path = tmp_path / "model.npz"
    model = models.build("tutorial-torch", (1, 8, 8), 2, norm="batch")
    about = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    nn.save(path, model, metadata=about)
    refuses(capsys, path, words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input_shape": [1, 1024, 1024]}, "5.weight must have shape (2, 4194304), as its"),
        ({"classes": ["a"] * 100_000}, "5.weight must have shape (100000, 256), as its"),
        ({"input_shape": [1, 2500, 2500]}, "must have an input_shape of at most 1048576 pixels"),
        ({"input_shape": [1, 4, 2**60]}, "must have an input_shape of at most 1048576 pixels"),
        ({"model": "digits"}, "missing 12.weight"),
    ],
)
def test_metadata_that_say_more_than_the_file_holds_take_no_memory(
    tmp_path, capsys, changes, words
):
    path = tmp_path / "model.npz"
    model = models.build("tutorial-torch", (1, 8, 8), 2, norm="batch")
    nn.save(path, model, metadata={**GOOD, **changes})
    tracemalloc.start()
    try:
        refuses(capsys, path, words)
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a pipe in a folder")
def test_no_pipe_in_the_place_of_a_model_or_an_image_is_waited_for(network, tmp_path, capsys, soon):
    pipe, dark = tmp_path / "pipe", picture(tmp_path / "dark.png", 0)
    os.mkfifo(pipe)
    refuses(capsys, pipe, "must be a file, got a device, a pipe or a socket")
    assert main(["predict", str(network), str(pipe), str(dark)]) == 1
    output = capsys.readouterr()
    assert output.err == f"{pipe} must be a file, got a device, a pipe or a socket\n"
    assert output.out == f"{dark}: dark 73.1 %, 46.2 points above light\n"


def test_an_image_that_memory_does_not_hold_is_one_sentence(network, tmp_path, capsys, monkeypatch):
    def fails(path):
        raise MemoryError

    dark = picture(tmp_path / "dark.png", 0)
    monkeypatch.setattr(Image, "open", fails)
    assert main(["predict", str(network), str(dark)]) == 1
    message = f"{dark} must be an image that pillow reads, got: MemoryError\n"
    assert capsys.readouterr().err == message


def test_names_of_classes_and_files_do_not_command_the_terminal(tmp_path, capsys):
    network = save_network(tmp_path / "model.npz", classes=("\x1b[31mnoir\n", "clair é 光"))
    light = picture(tmp_path / "\x1b]0;light.png", 255)
    assert main(["predict", str(network), str(light), "--top", "2"]) == 0
    line = capsys.readouterr().out
    assert line.startswith(f"{tmp_path}/\\x1b]0;light.png: clair é 光 ")
    assert ", \\x1b[31mnoir\\n " in line and line.count("\n") == 1 and "\x1b" not in line


def test_an_error_of_an_image_does_not_command_the_terminal(network, tmp_path, capsys):
    path = tmp_path / "\x1b[31m.png"
    path.write_bytes(b"no image")
    assert main(["predict", str(network), str(path)]) == 1
    assert capsys.readouterr().err.startswith(f"{tmp_path}/\\x1b[31m.png must be an image that")
