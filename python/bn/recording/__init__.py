"""The record of a model's forward pass: which layer was called on what, and what each call kept.

`kept` knows where a layer's `keep` and `take` find their place, `record` the calls and the backward
pass through them, `value` what flows through a recorded forward, `operations` the few operations on
it and their gradients, `waiting` outputs that are computed together with what follows, `trace` a
forward pass on shapes alone, `plan` what a forward pass computes together.
"""
