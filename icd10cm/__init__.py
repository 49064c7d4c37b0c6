"""The code system, without any machine learning: what data generation, training, evaluation and serving all speak."""

from icd10cm.codeset import CodeSet

__all__ = ["CodeSet"]
