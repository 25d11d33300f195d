"""The studies, one in each file."""

from bn.study.studies.convergence import STUDY as CONVERGENCE

STUDIES = (CONVERGENCE,)
