"""What to do with texts that are longer than a model reads: leave them, cut them, keep their telling sections, or chunks."""

from serving.long_notes.cutting import WAYS, Cutter, Part, build_cutter
from serving.long_notes.sections import SECTIONS

__all__ = ["SECTIONS", "WAYS", "Cutter", "Part", "build_cutter"]
