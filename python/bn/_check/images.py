"""Checks of the options and the inputs of layers that take images, or signals."""

from __future__ import annotations

from bn._check.base import Array, channel_count, floating, is_integer, is_number, no_larger


def single(name: str, value: object, low: int) -> int:
    """Check an integer, or a tuple of one as PyTorch shows it."""
    values = value if isinstance(value, (tuple, list)) else (value,)
    if len(values) != 1 or not is_integer(values[0]) or values[0] < low:
        raise ValueError(f"{name} must be an integer >= {low}, got {value!r}")
    no_larger(name, values[0])
    return int(values[0])


def signal_axis(axis: object) -> None:
    if not is_integer(axis) or axis not in (1, -1):
        raise ValueError(f"axis must be 1 (N, C, L) or -1 (N, L, C), got {axis!r}")


def padding_word(value: str, stride: tuple[int, ...]) -> str:
    if value not in ("same", "valid"):
        raise ValueError(f"padding must be 'same', 'valid' or integers, got {value!r}")
    if value == "same" and any(s != 1 for s in stride):
        raise ValueError(f"padding='same' needs stride 1, got stride={stride}")
    return value


def signal_padding(value: object, stride: tuple[int, ...]) -> tuple[int] | str:
    """Check a padding of signals; return it as a tuple of one, or as the word that it is."""
    return padding_word(value, stride) if isinstance(value, str) else (single("padding", value, 0),)


def signal_pool_padding(padding: int, kernel: int) -> None:
    if 2 * padding > kernel:
        raise ValueError(f"padding must be at most half of kernel_size {kernel}, got {padding}")


def signal_shape(
    layer: str, shape: tuple[int, ...], axis: int, channels: int | None = None
) -> None:
    layout = "(C, L)" if axis == 1 else "(L, C)"
    if not isinstance(shape, (tuple, list)) or len(shape) != 2:
        raise ValueError(f"{layer} takes inputs of shape {layout}, got {shape}")
    if channels is not None and shape[0 if axis == 1 else 1] != channels:
        raise ValueError(f"{layer} takes {channels} channels in {layout}, got {shape}")


def signals(layer: str, x: Array, axis: int, channels: int | None = None) -> None:
    floating(f"x of {layer}", x)
    if x.ndim != 3:
        layout = "(N, C, L)" if axis == 1 else "(N, L, C)"
        raise ValueError(f"{layer} takes signals of shape {layout}, got shape {x.shape}")
    if channels is not None:
        channel_count(layer, x, axis, channels)


def length_at_least(layer: str, length: int, smallest: int) -> None:
    if length < smallest:
        raise ValueError(f"{layer} takes signals of at least {smallest} values, got {length}")


def output_padding(
    padding: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> None:
    if any(p >= max(s, d) for p, s, d in zip(padding, stride, dilation, strict=True)):
        raise ValueError(
            f"output_padding must be smaller than stride {stride} or dilation {dilation}, "
            f"got {padding}"
        )


def adaptive_size(value: object) -> tuple[int | None, int | None]:
    """Check an output size; return it as (height, width), None where it is the input's."""
    values = value if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2 or not all(v is None or (is_integer(v) and v >= 1) for v in values):
        raise ValueError(
            f"output_size must be an integer >= 1, None or a pair of them, got {value!r}"
        )
    for size in values:
        no_larger("output_size", 0 if size is None else size)
    first, second = (None if v is None else int(v) for v in values)
    return first, second


def upsample_mode(mode: object, align_corners: object) -> None:
    if not isinstance(mode, str) or mode not in ("nearest", "bilinear"):
        raise ValueError(f"mode must be 'nearest' or 'bilinear', got {mode!r}")
    if align_corners is not None and not isinstance(align_corners, bool):
        raise TypeError(f"align_corners must be True, False or None, got {align_corners!r}")
    if align_corners is not None and mode == "nearest":
        raise ValueError(f"align_corners must be None with mode='nearest', got {align_corners}")


def one_of_size_and_scale(size: object, scale_factor: object) -> None:
    if (size is None) == (scale_factor is None):
        raise ValueError(
            "either size or scale_factor must be given, "
            f"got size={size!r} and scale_factor={scale_factor!r}"
        )


def scale_factor(value: object) -> tuple[float, float]:
    """Check a scale factor; return it as those of (height, width)."""
    values = value if isinstance(value, (tuple, list)) else (value, value)
    good = len(values) == 2 and all(is_number(v) and 0 < v < 2**31 for v in values)
    if not good:
        raise ValueError(f"scale_factor must be a positive number or a pair of them, got {value!r}")
    return float(values[0]), float(values[1])


def zero_padding(value: object) -> tuple[int, int, int, int]:
    """Check a padding; return it as (left, right, top, bottom)."""
    values = value if isinstance(value, (tuple, list)) else (value,) * 4
    if len(values) != 4 or not all(is_integer(v) for v in values):
        raise ValueError(
            f"padding must be an integer or four, (left, right, top, bottom), got {value!r}"
        )
    for number in values:
        no_larger("padding", abs(int(number)))
    left, right, top, bottom = (int(v) for v in values)
    return left, right, top, bottom


def channel_widths(value: object) -> None:
    if not isinstance(value, (tuple, list)) or not value:
        raise ValueError(f"widths must be a tuple of one number of channels or more, got {value!r}")


def divisible_images(model: str, shape: tuple[int, ...], by: int) -> None:
    if len(shape) != 4:
        raise ValueError(f"{model} takes images of shape (N, C, H, W), got shape {shape}")
    size = shape[2:]
    if size[0] % by or size[1] % by:
        raise ValueError(
            f"{model} takes images whose height and width are multiples of {by}, got {size}"
        )
