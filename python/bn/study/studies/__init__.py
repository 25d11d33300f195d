"""The studies, one in each file."""

from bn.study.studies.convergence import STUDY as CONVERGENCE
from bn.study.studies.depth import STUDY as DEPTH
from bn.study.studies.placement import STUDY as PLACEMENT
from bn.study.studies.regularisation import STUDY as REGULARISATION

STUDIES = (CONVERGENCE, REGULARISATION, PLACEMENT, DEPTH)
