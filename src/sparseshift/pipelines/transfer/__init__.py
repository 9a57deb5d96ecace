"""Models beside baselines and each other, on perturbations they never saw."""

from sparseshift.pipelines.transfer.pipeline import create_pipeline

__all__ = ["create_pipeline"]
