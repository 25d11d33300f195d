"""The compiled core of `bn`. It checks nothing: call `bn` instead."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

from numpy import bool_, float64, uint8
from numpy.typing import NDArray

Array = NDArray[Any]
Doubles = NDArray[float64]

def memory_info() -> dict[str, int]: ...
def set_memory_limit(limit: int) -> None: ...
def trim_memory() -> int: ...
def empty_like(x: Array) -> Array: ...
def empty(shape: tuple[int, ...], dtype: Any, like: Array | None = None) -> Array: ...
def contiguous(a: Array) -> Array: ...
def in_order_of(a: Array, x: Array) -> Array: ...
def available_isas() -> list[str]: ...
def select_isa(name: str) -> bool: ...
def selected_isa() -> str: ...

MOST_THREADS: int

def has_openmp() -> bool: ...
def max_threads() -> int: ...
def set_max_threads(n: int) -> None: ...
def threads_asked() -> int: ...
def chunks(x: Array, axis: int) -> int: ...
def stats(x: Array, axis: int) -> tuple[Doubles, Doubles, Doubles]: ...
def normalize(
    x: Array,
    axis: int,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    out: Array | None = None,
    residual: Array | None = None,
    activation: int = 0,
    negative_slope: float = 0,
) -> Array: ...
def forward(
    x: Array,
    axis: int,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    out: Array | None = None,
    residual: Array | None = None,
    activation: int = 0,
    negative_slope: float = 0,
) -> tuple[Array, Doubles, Doubles, Doubles]: ...
def forward_rows(
    x: Array,
    span: int,
    weight: Array | None,
    bias: Array | None,
    run_weight: Doubles | None,
    run_bias: Doubles | None,
    eps: float,
    about_zero: bool = False,
    out: Array | None = None,
    residual: Array | None = None,
    activation: int = 0,
    negative_slope: float = 0,
) -> tuple[Array, Doubles, Doubles, Doubles]: ...
def backward_rows(
    dy: Array,
    x: Array,
    span: int,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    run_weight: Doubles | None,
    run_bias: Doubles | None,
    eps: float,
    count: Doubles,
    about_zero: bool = False,
    run_gradients: bool = False,
    out: Array | None = None,
    y: Array | None = None,
    dresidual: Array | None = None,
    activation: int = 0,
    negative_slope: float = 0,
) -> tuple[Array, Doubles, Doubles, Any, Any]: ...
def forward_samples(
    x: Array,
    span: int,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    out: Array | None = None,
    residual: Array | None = None,
    activation: int = 0,
    negative_slope: float = 0,
) -> tuple[Array, Doubles, Doubles, Doubles]: ...
def backward_samples(
    dy: Array,
    x: Array,
    span: int,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    count: Doubles,
    out: Array | None = None,
    y: Array | None = None,
    dresidual: Array | None = None,
    activation: int = 0,
    negative_slope: float = 0,
) -> tuple[Array, Doubles, Doubles]: ...
def reduce(
    dy: Array,
    x: Array,
    axis: int,
    mean: Array,
    var: Array | None = None,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 0,
    y: Array | None = None,
    activation: int = 0,
    negative_slope: float = 0,
) -> tuple[Doubles, Doubles]: ...
def gradient(
    dy: Array,
    x: Array,
    axis: int,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    count: Array,
    sum_g: Array,
    sum_g_xm: Array,
    out: Array | None = None,
    y: Array | None = None,
    dresidual: Array | None = None,
    activation: int = 0,
    negative_slope: float = 0,
) -> Array: ...
def backward(
    dy: Array,
    x: Array,
    axis: int,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    count: Array,
    out: Array | None = None,
    y: Array | None = None,
    dresidual: Array | None = None,
    activation: int = 0,
    negative_slope: float = 0,
) -> tuple[Array, Doubles, Doubles]: ...
def gradient_pooled(
    dy: Array,
    positions: NDArray[uint8],
    x: Array,
    axis: int,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    count: Doubles,
    sum_g: Doubles,
    sum_g_xm: Doubles,
    activation: int,
    negative_slope: float,
    kernel: tuple[int, int],
) -> Array: ...
def has_vectors() -> bool: ...
def resample(
    x: Array,
    y: Array,
    rows: tuple[Array, Array, Array, bool, int, int],
    columns: tuple[Array, Array, Array, bool, int, int],
) -> None: ...
def convolve(
    x: Array,
    weight: Array,
    bias: Array | None,
    y: Array,
    stride: tuple[int, int],
    before: tuple[int, int],
    dilation: tuple[int, int],
    winograd: bool,
    residual: Array | None = None,
    positions: NDArray[uint8] | None = None,
    activation: int = 0,
    negative_slope: float = 0,
    size: tuple[int, int] | None = None,
    kernel: tuple[int, int] | None = None,
    packed: NDArray[uint8] | None = None,
) -> None: ...
def pack_weight(
    x: Array,
    weight: Array,
    y: Array,
    stride: tuple[int, int],
    before: tuple[int, int],
    dilation: tuple[int, int],
    winograd: bool,
) -> NDArray[uint8]: ...
def convolve_dx(
    dy: Array,
    weight: Array,
    bias: Array | None,
    dx: Array,
    stride: tuple[int, int],
    before: tuple[int, int],
    dilation: tuple[int, int],
    winograd: bool,
) -> None: ...
def convolve_dweight(
    x: Array,
    dy: Array,
    dweight: Array,
    dbias: Array | None,
    stride: tuple[int, int],
    before: tuple[int, int],
    dilation: tuple[int, int],
    winograd: bool,
) -> None: ...
def pool_max(
    x: Array,
    y: Array,
    positions: Array,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> None: ...
def pool_extreme(
    x: Array,
    sign: Array,
    y: Array,
    positions: NDArray[uint8],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> None: ...
def pool_max_gradient(
    dy: Array,
    positions: Array,
    dx: Array,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> None: ...
def pool_mean(
    x: Array,
    y: Array,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    count_padding: bool,
) -> None: ...
def pool_mean_gradient(
    dy: Array,
    dx: Array,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    count_padding: bool,
) -> None: ...
def relu(x: Array) -> Array: ...
def relu_dx(dy: Array, y: Array) -> Array: ...
def relu6(x: Array) -> Array: ...
def relu6_dx(dy: Array, y: Array) -> Array: ...
def leaky_relu(a: Array, x: Array, slope: float) -> Array: ...
def sigmoid_dx(dy: Array, y: Array) -> Array: ...
def tanh_dx(dy: Array, y: Array) -> Array: ...
def gelu(x: Array, tanh: bool) -> Array: ...
def gelu_dx(dy: Array, x: Array, tanh: bool) -> Array: ...
def silu(x: Array) -> Array: ...
def silu_dx(dy: Array, x: Array) -> Array: ...
def elu(x: Array, alpha: float) -> Array: ...
def elu_dx(dy: Array, x: Array, alpha: float) -> Array: ...
def softplus(x: Array, beta: float, threshold: float) -> Array: ...
def softplus_dx(dy: Array, x: Array, beta: float, threshold: float) -> Array: ...
def hardswish(x: Array) -> Array: ...
def hardswish_dx(dy: Array, x: Array) -> Array: ...
def prelu(a: Array, x: Array, slope: Array, axis: int) -> Array: ...
def logistic_loss(x: Array, negative: Array, positive: Array) -> tuple[Array, Array]: ...
def add(a: Array, b: Array) -> Array: ...
def dropout(x: Array, seed: int, p: float, scale: float) -> tuple[Array, NDArray[uint8]]: ...
def masked(dy: Array, mask: NDArray[uint8], scale: float) -> Array: ...
def all_fit(params: list[Array], grads: list[Array]) -> bool: ...
def sgd_step(
    params: list[Array],
    grads: list[Array],
    buffers: list[Array] | None,
    lr: float,
    decay: float,
    momentum: float,
    gain: float,
    nesterov: bool,
) -> None: ...
def adam_step(
    params: list[Array],
    grads: list[Array],
    m: list[Array],
    v: list[Array],
    shrink: float,
    decay: float,
    beta1: float,
    beta2: float,
    root: float,
    eps: float,
    step_size: float,
) -> None: ...
def rmsprop_step(
    params: list[Array],
    grads: list[Array],
    squares: list[Array],
    means: list[Array] | None,
    buffers: list[Array] | None,
    lr: float,
    decay: float,
    alpha: float,
    eps: float,
    momentum: float,
) -> None: ...
def recurrent_step(name: str, tensors: tuple[Array, ...], active: Array | None) -> None: ...
def runs(x: Array, *others: Array) -> list[Array]: ...
def in_blocks(function: Callable[[int, int], object], count: int, block: int) -> None: ...
def merge(
    count: Doubles, mean: Doubles, m2: Doubles, count_b: Doubles, mean_b: Doubles, m2_b: Doubles
) -> None: ...
def rstd(var: Doubles, eps: float) -> Doubles: ...
def commit(
    running_mean: Array,
    running_var: Array,
    count: Doubles,
    mean: Doubles,
    m2: Doubles,
    momentum: float,
    unbiased: bool,
    nonfinite: int = 0,
) -> NDArray[bool_] | None: ...
def copy_together(arrays: list[Array], values: list[Array]) -> None: ...

class Change:
    arrays: list[Array]
    applied: bool
    def __init__(self, arrays: list[Array]) -> None: ...
    @property
    def after(self) -> list[Array]: ...
    def apply(self) -> None: ...
    def commits(self, channels: int) -> bool: ...
    def commit(
        self,
        count: Doubles,
        mean: Doubles,
        m2: Doubles,
        momentum: float,
        unbiased: bool,
        nonfinite: int,
    ) -> Array | None: ...
    def undo(self) -> None: ...

class Transaction(AbstractContextManager[None]):
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...

class Restored(AbstractContextManager[None]):
    def __init__(self, dicts: list[dict[str, Any]]) -> None: ...
    def __exit__(self, *error: object) -> None: ...

class Setting(AbstractContextManager[None]):
    def __init__(self, variable: ContextVar[Any]) -> None: ...
    def value(self) -> object: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...

def set_threads(libraries: list[Any], numbers: list[int]) -> None: ...

class OneLibraryThread(AbstractContextManager[None]):
    def __init__(self, libraries: list[Any]) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...

def find_host_team(path: str) -> bool: ...

class HostTeam(AbstractContextManager[None]):
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...

class Threads(AbstractContextManager[None]):
    def __init__(self, limit: int, libraries: list[Any], library_limit: int) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...

def takes_batch(running_mean: object, running_var: object, channels: int) -> bool: ...
def fits(
    x: object, axis: object, needed: tuple[object, ...], optional: tuple[object, ...]
) -> int: ...
