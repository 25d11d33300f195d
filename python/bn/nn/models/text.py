"""A classifier of texts, each of which is a row of word numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from bn.layers.layer_norm import LayerNorm
from bn.module import Module
from bn.nn.embedding import Embedding
from bn.nn.init import Rng, generator
from bn.nn.linear import Linear
from bn.nn.recurrent import LSTM


class TextClassifier(Module):
    """An embedding, an LSTM of which the last output counts, a layer normalization, a linear layer.

    `text_classifier` makes it, and documents the arguments.

    Parameters
    ----------
    vocabulary, num_classes, embedding_dim, hidden_size, num_layers : int
    bidirectional : bool
    dropout : float
    padding_idx : int or None
    dtype : dtype_like
    rng : int, Generator or None

    Examples
    --------
    >>> model = TextClassifier(100, 2, rng=0)
    >>> model.norm, model.head.weight.shape
    (LayerNorm((128,), eps=1e-05, elementwise_affine=True, bias=True), (2, 128))
    """

    def __init__(
        self,
        vocabulary: int,
        num_classes: int,
        embedding_dim: int = 64,
        hidden_size: int = 128,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        padding_idx: int | None = 0,
        *,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        rng = generator(rng)
        self.embedding = Embedding(vocabulary, embedding_dim, padding_idx, dtype=dtype, rng=rng)
        self.lstm = LSTM(
            embedding_dim, hidden_size, num_layers, True, True, dropout, bidirectional,
            return_sequences=False, return_state=False, dtype=dtype, rng=rng,
        )  # fmt: skip
        features = 2 * hidden_size if bidirectional else hidden_size
        self.norm = LayerNorm(features, dtype=dtype)
        self.head = Linear(features, num_classes, dtype=dtype, rng=rng)

    def forward(self, x: Any) -> Any:
        return self.head(self.norm(self.lstm(self.embedding(x))))


def text_classifier(
    vocabulary: int,
    num_classes: int,
    embedding_dim: int = 64,
    hidden_size: int = 128,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    padding_idx: int | None = 0,
    *,
    dtype: DTypeLike = np.float32,
    rng: Rng = None,
) -> TextClassifier:
    """A classifier of texts: embedding, LSTM, layer normalization, linear layer.

    Parameters
    ----------
    vocabulary : int
        How many words there are; x has a number below it for each word.
    num_classes : int
    embedding_dim : int
        Values that stand for a word.
    hidden_size, num_layers : int
        Of the LSTM.
    bidirectional : bool
        Whether the texts are read from their end too.
    dropout : float
        Between the layers of the LSTM.
    padding_idx : int or None
        The number that fills up short texts. It has a vector of zeros; only ``lengths=`` leaves it
        out altogether.
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters.

    Returns
    -------
    TextClassifier
        ``model(x, lengths=lengths)`` takes word numbers of shape (N, T) and, unless all texts are
        equally long, their lengths.

    Examples
    --------
    >>> model = text_classifier(100, 2, rng=0)
    >>> texts = np.array([[5, 7, 2], [9, 0, 0]])
    >>> model(texts, lengths=[3, 1]).shape
    (2, 2)
    """
    return TextClassifier(
        vocabulary, num_classes, embedding_dim, hidden_size, num_layers, bidirectional, dropout,
        padding_idx, dtype=dtype, rng=rng,
    )  # fmt: skip
