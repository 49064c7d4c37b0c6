"""The valid codes nearest to one that is damaged, truncated or retired."""

from icd10cm.suggest.nearest import Suggestion, repair, suggest

__all__ = ["Suggestion", "repair", "suggest"]
