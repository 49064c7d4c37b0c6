"""What to do with texts that are longer than a model reads, or name more conditions than it can tell apart.

They are left, cut, kept in their telling sections, or answered in parts: windows that overlap, or condition by condition.
"""

from serving.long_notes.cutting import WAYS, Cutter, Part, build_cutter
from serving.long_notes.sections import SECTIONS

__all__ = ["SECTIONS", "WAYS", "Cutter", "Part", "build_cutter"]
