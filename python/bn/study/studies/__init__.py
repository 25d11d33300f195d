"""The studies, one in each file."""

from bn.study.studies.batch_size import STUDY as BATCH_SIZE
from bn.study.studies.convergence import STUDY as CONVERGENCE
from bn.study.studies.ghost import STUDY as GHOST
from bn.study.studies.train_eval import STUDY as TRAIN_EVAL

STUDIES = (CONVERGENCE, BATCH_SIZE, GHOST, TRAIN_EVAL)
