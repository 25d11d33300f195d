"""The checks of arguments, and their messages: what was expected, and what was given.

A check raises an error, or returns nothing or the value in its normal form; `is_...` functions
return a bool instead. `base` holds the checks that several parts of `bn` use, `nn` those of the
pipeline, `images` those of its layers of images and signals, `cli` those of the command and its
files, and the other files those of the module or folder of the same name.
"""

from bn._check.arrays import *  # noqa: F403
from bn._check.augment import *  # noqa: F403
from bn._check.base import *  # noqa: F403
from bn._check.cli import *  # noqa: F403
from bn._check.convert import *  # noqa: F403
from bn._check.dask import *  # noqa: F403
from bn._check.distributed import *  # noqa: F403
from bn._check.files import *  # noqa: F403
from bn._check.folding import *  # noqa: F403
from bn._check.images import *  # noqa: F403
from bn._check.keras import *  # noqa: F403
from bn._check.layers import *  # noqa: F403
from bn._check.masking import *  # noqa: F403
from bn._check.nn import *  # noqa: F403
from bn._check.onnx import *  # noqa: F403
from bn._check.onnx_files import *  # noqa: F403
from bn._check.optim import *  # noqa: F403
from bn._check.packages import *  # noqa: F403
from bn._check.recalibration import *  # noqa: F403
from bn._check.recording import *  # noqa: F403
from bn._check.samples import *  # noqa: F403
from bn._check.streams import *  # noqa: F403
from bn._check.study import *  # noqa: F403
from bn._check.torch import *  # noqa: F403
from bn._check.training import *  # noqa: F403
