"""Files of states in the formats of other frameworks, and the names in them."""

from bn.files.matching import Match, MatchedState, match_state
from bn.files.state import LoadedState, load_state, save_state

__all__ = ["LoadedState", "Match", "MatchedState", "load_state", "match_state", "save_state"]
