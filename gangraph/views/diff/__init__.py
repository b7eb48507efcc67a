"""What differs between two specs as mathematics: terms, weights, networks and updates, and not lines of YAML."""

from gangraph.views.diff.comparison import SAME, SpecComparison, compare_specs, diff_text, differences
from gangraph.views.diff.difference import Difference

__all__ = ["SAME", "Difference", "SpecComparison", "compare_specs", "diff_text", "differences"]
