"""What to do with texts that are longer than a model reads: leave them, cut them, keep their telling sections, or chunks."""

from eval.long_notes.cutting import WAYS, Cutter, build_cutter
from eval.long_notes.merging import merge_predictions
from eval.long_notes.sections import SECTIONS

__all__ = ["SECTIONS", "WAYS", "Cutter", "build_cutter", "merge_predictions"]
