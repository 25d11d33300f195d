"""The recurrent layers: `RNN`, `LSTM` and `GRU`."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn.nn.init import Rng
from bn.nn.recurrent_base import Recurrent


class RNN(Recurrent):
    r"""The simple recurrent layer, :math:`h_t = \tanh(W x_t + b + U h_{t-1} + b')`.

    Parameters
    ----------
    input_size : int
        Length of the last axis of x.
    hidden_size : int
        Values of the state h.
    num_layers : int
        Layers above each other: each but the first gets the outputs of the one below.
    nonlinearity : {"tanh", "relu"}
    bias : bool
        Whether there are b and b'.
    batch_first : bool
        Whether x and the output are (N, T, ...) instead of (T, N, ...). The states never are.
    dropout : float
        Probability of zeros in the outputs of all layers but the last, in training.
    bidirectional : bool
        Whether each layer has a second direction, from the last step to the first, whose outputs
        stand behind those of the first direction.
    return_sequences : bool
        Whether the output has all steps; else it is what each direction gives last. The name is
        Keras's.
    return_state : bool
        Whether a call returns the final state too, as in PyTorch. In a `Sequential` it must not.
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws the parameters from U(-b, b), where
        b = 1 / sqrt(hidden_size), and later the zeros of the dropout.

    Attributes
    ----------
    weight_ih_l0 : Parameter, shape (hidden_size, input_size)
        W of layer 0; of the layers above, the last axis is the number of outputs of the one below.
        The reverse direction's names end with ``_reverse``.
    weight_hh_l0 : Parameter, shape (hidden_size, hidden_size)
        U.
    bias_ih_l0, bias_hh_l0 : Parameter, shape (hidden_size,)

    Raises
    ------
    ValueError
        A size is not a positive integer, `dropout` is out of range, or `nonlinearity` is unknown.
        On a call: x, the initial state or `lengths` do not fit.

    See Also
    --------
    LSTM, GRU

    Notes
    -----
    A call is ``layer(x, hx, lengths=lengths)``; hx, the initial state, and the lengths may be left
    out. With lengths, the steps behind the end of a sequence do not count: what is in x there does
    not matter, outputs and the gradient of x are 0, and the final state is that of the sequence's
    last step.

    References
    ----------
    torch.nn.RNN, keras.layers.SimpleRNN.

    Examples
    --------
    >>> layer = RNN(3, 4, batch_first=True, rng=0)
    >>> output, h_n = layer(np.ones((2, 5, 3), np.float32), lengths=[5, 2])
    >>> output.shape, h_n.shape, bool((h_n[0, 1] == output[1, 1]).all()), bool(output[1, 2:].any())
    ((2, 5, 4), (1, 2, 4), True, False)
    >>> layer.backward((np.ones_like(output), np.ones_like(h_n))).shape
    (2, 5, 3)
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        return_sequences: bool = True,
        return_state: bool = True,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        _check.nonlinearity(nonlinearity)
        self.nonlinearity = nonlinearity
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            return_sequences, return_state, dtype, rng,
        )  # fmt: skip

    @property
    def kernel(self) -> str:  # type: ignore[override]
        return f"rnn_{self.nonlinearity}"

    def extra_repr(self) -> str:
        relu = ", nonlinearity='relu'" if self.nonlinearity == "relu" else ""
        return super().extra_repr() + relu


class LSTM(Recurrent):
    r"""Long short-term memory: a cell c that gates protect, beside the state h.

    With :math:`a = W x_t + b + U h_{t-1} + b'`, of which i, f, g and o have a quarter each,

    .. math::
        i, f, o = \sigma(a_i), \sigma(a_f), \sigma(a_o), \quad g = \tanh(a_g), \quad
        c_t = f c_{t-1} + i g, \quad h_t = o \tanh(c_t).

    Parameters
    ----------
    input_size : int
        Length of the last axis of x.
    hidden_size : int
        Values of h, and of c.
    num_layers : int
        Layers above each other.
    bias : bool
        Whether there are b and b'.
    batch_first : bool
        Whether x and the output are (N, T, ...) instead of (T, N, ...). The states never are.
    dropout : float
        Probability of zeros in the outputs of all layers but the last, in training.
    bidirectional : bool
        Whether each layer has a second direction, from the last step to the first.
    return_sequences : bool
        Whether the output has all steps; else it is what each direction gives last.
    return_state : bool
        Whether a call returns the final state too, as in PyTorch. In a `Sequential` it must not.
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws the parameters and the zeros of the dropout.

    Attributes
    ----------
    weight_ih_l0 : Parameter, shape (4 * hidden_size, input_size)
        W, in the order i, f, g, o. More names as in `RNN`.
    weight_hh_l0 : Parameter, shape (4 * hidden_size, hidden_size)
        U.
    bias_ih_l0, bias_hh_l0 : Parameter, shape (4 * hidden_size,)

    Raises
    ------
    ValueError
        As in `RNN`.

    See Also
    --------
    RNN : tells how layers of this kind are called.

    References
    ----------
    Hochreiter and Schmidhuber, "Long short-term memory", 1997. torch.nn.LSTM, keras.layers.LSTM.

    Examples
    --------
    >>> layer = LSTM(3, 4, bidirectional=True, rng=0)
    >>> output, (h_n, c_n) = layer(np.ones((5, 2, 3), np.float32))
    >>> output.shape, h_n.shape, c_n.shape
    ((5, 2, 8), (2, 2, 4), (2, 2, 4))
    >>> last = LSTM(3, 4, return_sequences=False, return_state=False, rng=0)
    >>> last(np.ones((5, 2, 3), np.float32)).shape
    (2, 4)
    """

    gates = 4
    states = 2
    kernel = "lstm"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        return_sequences: bool = True,
        return_state: bool = True,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            return_sequences, return_state, dtype, rng,
        )  # fmt: skip


class GRU(Recurrent):
    r"""The gated recurrent unit.

    With :math:`a = W x_t + b` and :math:`u = U h_{t-1} + b'`, of which r, z, n have a third each,

    .. math::
        r, z = \sigma(a_r + u_r), \sigma(a_z + u_z), \quad n = \tanh(a_n + r u_n), \quad
        h_t = (1 - z) n + z h_{t-1}.

    Parameters
    ----------
    input_size : int
        Length of the last axis of x.
    hidden_size : int
        Values of the state h.
    num_layers : int
        Layers above each other.
    bias : bool
        Whether there are b and b'.
    batch_first : bool
        Whether x and the output are (N, T, ...) instead of (T, N, ...). The states never are.
    dropout : float
        Probability of zeros in the outputs of all layers but the last, in training.
    bidirectional : bool
        Whether each layer has a second direction, from the last step to the first.
    return_sequences : bool
        Whether the output has all steps; else it is what each direction gives last.
    return_state : bool
        Whether a call returns the final state too, as in PyTorch. In a `Sequential` it must not.
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws the parameters and the zeros of the dropout.

    Attributes
    ----------
    weight_ih_l0 : Parameter, shape (3 * hidden_size, input_size)
        W, in the order r, z, n. More names as in `RNN`.
    weight_hh_l0 : Parameter, shape (3 * hidden_size, hidden_size)
        U.
    bias_ih_l0, bias_hh_l0 : Parameter, shape (3 * hidden_size,)

    Raises
    ------
    ValueError
        As in `RNN`.

    See Also
    --------
    RNN : tells how layers of this kind are called.

    Notes
    -----
    Keras's layer is the same with ``reset_after=True``, its default.

    References
    ----------
    Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine
    translation", 2014. torch.nn.GRU, keras.layers.GRU.

    Examples
    --------
    >>> layer = GRU(3, 4, num_layers=2, rng=0)
    >>> output, h_n = layer(np.ones((5, 2, 3), np.float32))
    >>> output.shape, h_n.shape
    ((5, 2, 4), (2, 2, 4))
    >>> layer
    GRU(3, 4, num_layers=2)
    """

    gates = 3
    kernel = "gru"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        return_sequences: bool = True,
        return_state: bool = True,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            return_sequences, return_state, dtype, rng,
        )  # fmt: skip
