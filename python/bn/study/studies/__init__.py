"""The studies, one in each file."""

from bn.study.studies.batch_size import STUDY as BATCH_SIZE
from bn.study.studies.convergence import STUDY as CONVERGENCE
from bn.study.studies.corruption import STUDY as CORRUPTION
from bn.study.studies.depth import STUDY as DEPTH
from bn.study.studies.ghost import STUDY as GHOST
from bn.study.studies.initialisation import STUDY as INITIALISATION
from bn.study.studies.learning_rate import STUDY as LEARNING_RATE
from bn.study.studies.medical import STUDY as MEDICAL
from bn.study.studies.only_norm import STUDY as ONLY_NORM
from bn.study.studies.placement import STUDY as PLACEMENT
from bn.study.studies.recurrent import STUDY as RECURRENT
from bn.study.studies.regularisation import STUDY as REGULARISATION
from bn.study.studies.smoothness import STUDY as SMOOTHNESS
from bn.study.studies.train_eval import STUDY as TRAIN_EVAL

STUDIES = (
    CONVERGENCE,
    LEARNING_RATE,
    INITIALISATION,
    SMOOTHNESS,
    REGULARISATION,
    PLACEMENT,
    BATCH_SIZE,
    GHOST,
    TRAIN_EVAL,
    DEPTH,
    CORRUPTION,
    ONLY_NORM,
    MEDICAL,
    RECURRENT,
)
