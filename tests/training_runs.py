"""A small training with everything that a resumption must bring back, and what it ends with."""

import hashlib
import json

import numpy as np

import bn
from bn import nn

EPOCHS, BATCHES = 3, 5


def data(n=38, dtype=np.float32):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 1, 6, 6)).astype(dtype)
    return x, (x[:, 0, 0, 0] > x[:, 0, 1, 1]).astype(int) + (x[:, 0, 2, 2] > 1)


def network():
    """Batch normalizations of two kinds of shares, dropout, and a residual."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, rng=0),
        bn.BatchNorm2d(4, momentum=None),
        nn.ReLU(),
        nn.Residual(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, rng=3), bn.BatchNorm2d(4))),
        nn.Dropout2d(0.2, rng=4),
        nn.Flatten(),
        nn.Dropout(0.3, rng=1),
        nn.Linear(64, 3, rng=2),
    )


def noise(x, y, rng):
    return x + rng.normal(0, 0.1, x.shape).astype(x.dtype), y


class Stop(nn.Callback):
    """Calls a function after a step, and remembers all losses."""

    def __init__(self, step=None, function=None):
        self.step, self.function, self.losses = step, function, []

    def on_batch_end(self, state):
        self.losses.append(state.loss)
        if state.step == self.step:
            self.function()

    def state_dict(self):
        return {"losses": self.losses}

    def load_state_dict(self, state):
        self.losses = list(state["losses"])


def cosine(optimizer):
    return nn.CosineAnnealingLR(optimizer, T_max=EPOCHS)


def run(
    checkpoint, stop=None, resume=True, loader=None, schedule_of=cosine, weight_decay=1e-3,
    optimizer_options=None, **options,
):  # fmt: skip
    """Train; return a text that differs where one bit of anything differs."""
    model = network()
    groups = nn.no_decay(model, weight_decay)
    optimizer = nn.Adam(groups, **{"lr": 0.01, **(optimizer_options or {})})
    schedule = schedule_of(optimizer)
    loader = loader or nn.BatchLoader(*data(), 8, augment=noise, rng=7)
    stop, early = stop or Stop(), nn.EarlyStopping("loss", patience=2)
    history = nn.fit(
        model, loader, validation=data(10), epochs=EPOCHS, optimizer=optimizer, schedule=schedule,
        callbacks=[stop, early], progress=False, checkpoint=checkpoint, resume=resume, clip=5.0,
        **options,
    )  # fmt: skip
    arrays = {
        **model.state_dict(),
        **{
            f"{i}.{k}": v
            for i, s in enumerate(optimizer.state_dict()["state"])
            for k, v in s.items()
        },
        **{f"{p}.{k}": v for p, m in model.named_modules() for k, v in m.further_state().items()},
    }
    epochs = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in history.epochs]
    generators = [m.rng.bit_generator.state for m in (model[4], model[6])]
    rest = [
        epochs,
        stop.losses,
        early.state_dict(),
        schedule.state_dict(),
        optimizer.lr,
        generators,
    ]
    rest += [loader.rng.bit_generator.state] if isinstance(loader, nn.BatchLoader) else []
    bits = hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in arrays.values())).hexdigest()
    return json.dumps([bits, rest])
