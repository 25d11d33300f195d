"""What a step of the Keras tutorial costs under `bn.keras`, beside the same model in `bn.nn`.

``python bench/keras_step.py``: an epoch of eight steps in each turn.
"""

from __future__ import annotations

from typing import Any

import machine
import numpy as np
import results
import rounds
from tables import Cells, number

import bn
from bn import keras, nn

BATCH, BATCHES = 64, 8


def keras_model():
    """Make the model of the tutorial by `bn.keras`, compiled."""
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Conv2D(16, 3, padding="same", input_shape=(32, 32, 3)),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(128),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def nn_model():
    """Make the same model by `bn.nn`."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding="same", axis=-1),
        bn.BatchNormalization(),
        nn.ReLU(),
        nn.MaxPool2d(2, axis=-1),
        nn.Flatten(),
        nn.Linear(4096, 128),
        bn.BatchNormalization(),
        nn.ReLU(),
        nn.Linear(128, 10),
        nn.Softmax(),
    )


def rows(result: dict[str, Any]) -> Cells:
    """Milliseconds of a step."""
    times = (calls["clock"]["median"] / BATCHES for calls in result["calls"].values())
    return [list(result["calls"]), [*map(number, times)]]


def main() -> None:
    """Let both take turns, print a table, and write the file."""
    options = results.parser(__doc__, repeat=60).parse_args()
    bn.set_num_threads(options.threads)
    usage = machine.Usage()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH * BATCHES, 32, 32, 3)).astype(np.float32)
    y = rng.integers(0, 10, len(x))
    theirs, ours = keras_model(), nn_model()
    ours.build((32, 32, 3))
    optimizer = nn.Adam(ours.parameters())
    calls = {
        "bn.keras": lambda: theirs.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0),
        "bn.nn": lambda: nn.fit(
            ours, nn.BatchLoader(x, y, BATCH, shuffle=False), epochs=1, optimizer=optimizer,
            criterion=nn.CrossEntropyLoss(from_logits=False), metrics=(), progress=False,
        ),
    }  # fmt: skip
    rounds.in_turns(calls, 2)
    measured = rounds.in_turns(calls, options.repeat)
    about = machine.describe(options.threads, list(calls)) | usage.so_far()
    result = {"machine": about, "unit": f"ms of {BATCHES} steps", "calls": measured}
    results.finish(result, {"a step, ms": rows(result)}, options.json)


if __name__ == "__main__":
    main()
