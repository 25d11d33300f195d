"""What the tutorial's step costs under `bn.keras`, beside the same model in `bn.nn`.

python bench/keras_step.py [rounds]
"""

import sys
import time
from statistics import median

import numpy as np

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


def main():
    """Print the median time of a step of both, which take turns, and their ratio."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH * BATCHES, 32, 32, 3)).astype(np.float32)
    y = rng.integers(0, 10, len(x))
    theirs, ours = keras_model(), nn_model()
    ours.build((32, 32, 3))
    optimizer = nn.Adam(ours.parameters())
    ways = {
        "bn.keras": lambda: theirs.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0),
        "bn.nn": lambda: nn.fit(
            ours, nn.BatchLoader(x, y, BATCH, shuffle=False), epochs=1, optimizer=optimizer,
            criterion=nn.CrossEntropyLoss(from_logits=False), metrics=(), progress=False,
        ),
    }  # fmt: skip
    times = {name: [] for name in ways}
    for _ in range(rounds + 2):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            times[name].append((time.perf_counter() - begun) / BATCHES * 1000)
    steps = {name: median(each[2:]) for name, each in times.items()}
    for name, milliseconds in steps.items():
        print(f"{name:9} {milliseconds:.2f} ms")
    ratios = [a / b for a, b in zip(*times.values(), strict=True)][2:]
    print(f"ratio     {median(ratios):.3f}")


if __name__ == "__main__":
    main()
