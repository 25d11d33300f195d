"""Models for tests: a forward as a function."""

import numpy as np

from bn import nn


def f64(**more):
    return {"dtype": np.float64, "rng": 0, **more}


def forward_of(function, *layers):
    """Return a model whose forward is function(x, *layers)."""

    class Model(nn.Module):
        def __init__(self):
            self.layers = nn.ModuleList(layers)

        def forward(self, x):
            return function(x, *self.layers)

    return Model()
