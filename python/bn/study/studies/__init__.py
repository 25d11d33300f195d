"""The studies, one in each file."""

from bn.study.studies.convergence import STUDY as CONVERGENCE
from bn.study.studies.corruption import STUDY as CORRUPTION
from bn.study.studies.medical import STUDY as MEDICAL
from bn.study.studies.only_norm import STUDY as ONLY_NORM
from bn.study.studies.recurrent import STUDY as RECURRENT

STUDIES = (CONVERGENCE, CORRUPTION, ONLY_NORM, MEDICAL, RECURRENT)
