"""`bn predict`: classify image files with a network that `train` wrote."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from bn import _check
from bn.cli import checkpoint, models
from bn.cli.arguments import integer
from bn.cli.failure import Failure, expected, require
from bn.types import Array, Shape

SUMMARY = "classify images with a network that train has saved"
DESCRIPTION = """\
Classify images with a network that `bn train` has saved. For each
image a line shows the most probable class, its probability, and by how much that
is above the next one; a small difference is called uncertain. A network has no
class for "none of these": an image that is darker, lighter, or of less or more
contrast than every training image gets a warning. Images of any size and kind
that pillow reads are converted to the size and the colours of the images that
the network was trained on. The digits and MNIST are light strokes
on a dark ground: crop the image to the digit, and use --invert for dark ink on
light paper. Transparent pixels become white.
"""

LEAST_MARGIN = 0.2  # between the first and the second class, or the first is called uncertain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add = parser.add_argument
    add("model", type=Path, metavar="model.npz", help="the network")
    add("images", type=Path, nargs="+", metavar="image.png", help="the images")
    add(
        "--top",
        type=integer(1),
        default=1,
        metavar="K",
        help="show the K most probable classes; at most all",
    )
    add("--invert", action="store_true", help="swap light and dark")


def run(args: argparse.Namespace) -> int:
    """Print a line for each image; return exit code 1 if one cannot be read, else 0."""
    require("predict", "PIL", "pillow")
    with expected(ValueError, OSError, MemoryError):
        network, about = checkpoint.load(args.model)
    recipe, code = models.RECIPES[about.model], 0
    for path in args.images:
        try:
            image = read_image(path, about.input_shape)
        except Failure as failure:
            print(failure, file=sys.stderr)
            code = 1
            continue
        pixels = 255 - image if args.invert else image
        out = network(about.pixels.to_input(pixels[None], 255, recipe.axis))
        text = likeliest(recipe.probabilities(out)[0], about.classes, args.top)
        print(_check.printable(f"{path}: {text}"), flush=True)
        unlike = [] if about.light is None else about.light.unlike(pixels)
        if unlike:
            text = f"{path} is {' and '.join(unlike)} than every training image"
            print(_check.printable(f"{text}: do not trust its class"), file=sys.stderr)
    return code


def likeliest(probabilities: Array, classes: tuple[str, ...], top: int) -> str:
    """The `top` most probable classes with their probabilities, as text.

    Examples
    --------
    >>> likeliest(np.array([0.1, 0.7, 0.2]), ("cat", "dog", "eel"), top=1)
    'dog 70.0 %, 50.0 points above eel'
    >>> likeliest(np.array([0.1, 0.5, 0.4]), ("cat", "dog", "eel"), top=2)
    'dog 50.0 %, eel 40.0 % (uncertain)'
    """
    order = np.argsort(-probabilities, kind="stable")
    text = ", ".join(f"{classes[i]} {100 * probabilities[i]:.1f} %" for i in order[:top])
    if len(order) == 1:
        return text
    margin = probabilities[order[0]] - probabilities[order[1]]
    if top == 1:
        text += f", {100 * margin:.1f} points above {classes[order[1]]}"
    return text if margin >= LEAST_MARGIN else f"{text} (uncertain)"


def read_image(path: Path, shape: Shape) -> Array:
    """Read an image file and scale it to a uint8 array of `shape`, (C, H, W)."""
    from PIL import Image, ImageOps

    channels, height, width = shape
    with expected(ValueError, OSError):
        _check.regular_file(path)
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            with expected(ValueError):
                _check.image_mode(path, image.mode)
            if image.mode.startswith("I;16"):  # convert("L") would clip 16 bits at 255
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
                paper = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(paper, image.convert("RGBA"))
            image = image.convert("L" if channels == 1 else "RGB")
            # A new pixel is the mean of the area it covers, as in scikit-learn's digits.
            image = image.resize((width, height), Image.Resampling.BOX)
    except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError) as error:
        raise Failure(_check.unreadable_image(path, error)) from error
    return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)
