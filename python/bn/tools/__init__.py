"""What works on whole models: folding, compiling, recalibration, the report."""

from bn.tools.compiling import compile
from bn.tools.folding import Folded, fold, fold_arrays
from bn.tools.recalibration import recalibrate
from bn.tools.report import LayerReport, Report, report

__all__ = [
    "Folded",
    "LayerReport",
    "Report",
    "compile",
    "fold",
    "fold_arrays",
    "recalibrate",
    "report",
]
