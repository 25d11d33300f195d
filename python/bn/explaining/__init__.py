"""`explain_difference`: why two layers or models of any frameworks give different outputs."""

from bn.explaining.explanation import Cause, Explanation, explain_difference

__all__ = ["Cause", "Explanation", "explain_difference"]
