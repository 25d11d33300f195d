"""Batch normalization over several processes: what the ranks of a run say to each other."""

from bn.distributed.communicator import Communicator
from bn.distributed.exchange import SyncError
from bn.distributed.synchronize import report_failure, synchronize, synchronized

__all__ = ["Communicator", "SyncError", "report_failure", "synchronize", "synchronized"]
