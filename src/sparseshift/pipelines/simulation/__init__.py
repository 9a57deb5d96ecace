"""A study of simulated screens: one namespace a fit, condition.data_D.model.seed_N."""

from sparseshift.pipelines.simulation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
