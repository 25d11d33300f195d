"""The training loop `nn.fit`, and its parts: data, callbacks, history, files to go on from."""
