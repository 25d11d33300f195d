"""What works on whole models, and the check of an installation."""

from bn.tools.activations import plot_activations
from bn.tools.adaptation import adapt
from bn.tools.compiling import compile
from bn.tools.folding import Folded, fold, fold_arrays
from bn.tools.installation import test
from bn.tools.recalibration import recalibrate
from bn.tools.report import LayerReport, Report, report
from bn.tools.running_way import plot_running_stats

__all__ = [
    "Folded",
    "LayerReport",
    "Report",
    "adapt",
    "compile",
    "fold",
    "fold_arrays",
    "plot_activations",
    "plot_running_stats",
    "recalibrate",
    "report",
    "test",
]
