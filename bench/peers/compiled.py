"""torch.compile of the eager operators: each case costs several compilations, hence optional."""

from __future__ import annotations

from cases import Data

from peers import Call
from peers.pytorch import PyTorch


class Compiled(PyTorch):
    name = "torch.compile"

    def calls(self, data: Data) -> dict[str, Call]:
        self._tuned = False  # the compiler allocates the outputs
        self._torch.compiler.reset()
        eager = super().calls(data)
        return {op: self._torch.compile(call, dynamic=False) for op, call in eager.items()}
