"""Tables, figures, and one HTML page."""

from sparseshift.pipelines.reporting.pipeline import create_pipeline

__all__ = ["create_pipeline"]
