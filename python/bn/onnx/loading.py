"""`load`: a file of ONNX as a model of `bn.nn`."""

from __future__ import annotations

import os

from bn import _check
from bn.module import Module
from bn.nn.archive import DAMAGE
from bn.onnx.building import Building
from bn.onnx.reading import message_of


def load(path: str | os.PathLike[str]) -> Module:
    """Make a model of a file of ONNX.

    The model's forward is data: nothing of the file is executed, and no other file is opened. It
    is in eval mode, and can be trained. A layer whose tensors are called
    ``layer1.0.weight`` and ``layer1.0.bias`` has the path ``layer1.0``, as it had in PyTorch, or in
    `bn.nn`.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Module
        It is called with the inputs of the graph, in their order, and returns its first output.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    OSError
        The file cannot be read.
    ValueError
        The file is damaged; it has an operator or an attribute that `bn.nn` has not, which the
        message names; or its tensors are in other files.
    ImportError
        onnx is not installed.

    See Also
    --------
    export : The way back.

    Notes
    -----
    Operators: Conv, ConvTranspose, Gemm, MatMul with a constant, the normalizations of `bn.onnx`,
    MaxPool, AveragePool, GlobalAveragePool, Pad with zeros, Resize, Gather, LSTM, GRU, RNN, the
    activations of `bn.nn`, Add, Sub, Mul, Div, Neg, Concat, Reshape, Flatten, Transpose, Slice,
    Squeeze, Unsqueeze, ReduceMean, Dropout, Identity and Constant, of opset 13 and later.

    References
    ----------
    ONNX operators, https://onnx.ai/onnx/operators/.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from bn import nn, onnx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     onnx.export(nn.Sequential(nn.Linear(2, 3, rng=0)), folder + "/model.onnx", (2,))
    ...     model = load(folder + "/model.onnx")
    >>> model(np.ones((4, 2), np.float32)).shape
    (4, 3)
    """
    _check.onnx_package("bn.onnx.load")
    _check.regular_file(path)
    from google.protobuf.message import DecodeError

    try:
        return Building(message_of(path)).model()
    except (*DAMAGE, DecodeError, RecursionError, OverflowError) as error:
        raise _check.unusable_onnx(path, error) from error
