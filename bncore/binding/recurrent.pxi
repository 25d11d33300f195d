# Steps of recurrent layers.

cdef enum:
    MAX_STEP_TENSORS = 7


cdef bn_step_kernel step_kernel(const bn_recurrent_kernels *kernels, str name):
    if name == "lstm":
        return kernels.lstm
    if name == "lstm_gradient":
        return kernels.lstm_gradient
    if name == "gru":
        return kernels.gru
    if name == "gru_gradient":
        return kernels.gru_gradient
    if name == "rnn_tanh":
        return kernels.rnn_tanh
    if name == "rnn_tanh_gradient":
        return kernels.rnn_tanh_gradient
    return kernels.rnn_relu if name == "rnn_relu" else kernels.rnn_relu_gradient


def recurrent_step(str name, tuple tensors, cnp.ndarray active):
    """One step of a kernel in bn_recurrent_kernels: its tensors in their order, each without gaps.

    The fourth tensor has a row of hidden values for each sequence. active has a byte for each
    sequence, 0 where it does not have the step; None: all have it."""
    cdef void *tensor[MAX_STEP_TENSORS]
    cdef int i
    cdef cnp.ndarray like = tensors[3]
    cdef bn_step_kernel kernel = step_kernel(kernels_of(like).recurrent, name)
    cdef bn_step step
    step.rows, step.hidden = cnp.PyArray_DIMS(like)[0], cnp.PyArray_DIMS(like)[1]
    step.active = NULL
    if active is not None:
        step.active = <const uint8_t *>cnp.PyArray_DATA(active)
    for i in range(len(tensors)):
        tensor[i] = cnp.PyArray_DATA(<cnp.ndarray>tensors[i])
    with nogil:
        kernel(tensor, &step)
