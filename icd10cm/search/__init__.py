"""Find codes by words, short forms, misspellings, or the beginning of a code."""

from icd10cm.search.index import Hit, SearchIndex

__all__ = ["Hit", "SearchIndex"]
