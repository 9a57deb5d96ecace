"""Fits of the reported model to permuted labels, to control guides, and to half of the cells."""

from sparseshift.pipelines.refits.pipeline import create_pipeline

__all__ = ["create_pipeline"]
