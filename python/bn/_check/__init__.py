"""Every check of an argument and every error message of `bn`: what was expected, what came.

`base` for arrays, numbers and states, `nn` for the pipeline, `cli` for the command and its files,
the others for the module or folder of the same name.
"""

from bn._check.base import *  # noqa: F403
from bn._check.cli import *  # noqa: F403
from bn._check.folding import *  # noqa: F403
from bn._check.layers import *  # noqa: F403
from bn._check.masking import *  # noqa: F403
from bn._check.nn import *  # noqa: F403
from bn._check.onnx import *  # noqa: F403
from bn._check.recalibration import *  # noqa: F403
