"""Load a checkpoint and predict once: ``python bench/first_prediction.py KEY FOLDER [--save]``.

`inference.py` starts it in a fresh process for each library, and measures how long it takes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import networks
import predictors

NETWORK = networks.Network("conv 16", 1, networks.pooled(16))


def main() -> None:
    """Save the network, or load it and predict."""
    key, folder = sys.argv[1], Path(sys.argv[2])
    predictor = predictors.load(key)(2)
    if "--save" in sys.argv:
        predictor.build(NETWORK, networks.weights(NETWORK))
        predictor.save(folder)
        return
    predictor.load(NETWORK, folder)
    images, _ = next(networks.batches(NETWORK))
    print(predictor.predict(predictor.put(images)).sum())


if __name__ == "__main__":
    main()
