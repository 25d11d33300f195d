"""Each kind of kernel runs once, on odd shapes: a short program for tools that are slow."""

import numpy as np
from arrays import normal

import bn
import bncore
from bn import nn


def everything():
    """Statistics, normalization, layers of images and a step, and the sum of all results."""
    total = 0.0
    for dtype in (np.float32, np.float64, np.float16):
        for shape, axis in [((3, 5, 7, 3), 1), ((5, 3, 3, 9), 3)]:
            x = normal(*shape, dtype=dtype)
            layer = bn.BatchNormalization(axis=axis)
            total += float(np.asarray(layer(x)).sum()) + float(layer.backward(x).sum())
            total += float(bn.stats(x, axis).m2.sum())
    model = nn.Sequential(
        nn.Conv2d(3, 9, 3, padding=1, rng=0),
        bn.BatchNorm2d(9),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(9, 5, 1, rng=1),
        nn.Flatten(),
    )
    y = np.asarray(model(normal(2, 3, 9, 11, dtype=np.float32)))
    total += float(y.sum()) + float(model.backward(np.ones_like(y)).sum())
    resized = nn.Sequential(
        nn.ConvTranspose2d(9, 5, 3, 2, rng=2), nn.Upsample((7, 9), mode="bilinear")
    )
    z = np.asarray(resized(normal(2, 9, 3, 5, dtype=np.float32)))
    total += float(z.sum()) + float(resized.backward(np.ones_like(z)).sum())
    nn.Adam(model.parameters()).step()
    nn.RMSprop(model.parameters(), momentum=0.9, centered=True).step()
    for kind in (nn.RNN, nn.LSTM, nn.GRU):
        recurrent = kind(3, 5, return_state=False, rng=0)
        y = recurrent(normal(3, 2, 3, dtype=np.float32), lengths=[3, 1])
        total += float(y.sum()) + float(recurrent.backward(np.ones_like(y)).sum())
    return total + sum(float(p.data.sum()) for p in model.parameters())


if __name__ == "__main__":
    for name in bncore.available_isas():
        if name != "avx512":  # valgrind does not know its instructions
            bncore.select_isa(name)
            print(name, everything())
