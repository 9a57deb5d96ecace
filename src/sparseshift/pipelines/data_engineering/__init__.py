"""Load, check, filter, split, choose genes on training cells."""

from sparseshift.pipelines.data_engineering.pipeline import create_pipeline

__all__ = ["create_pipeline"]
