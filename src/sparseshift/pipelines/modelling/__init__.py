"""Fit, embed, adapt, score: one namespace a fit, screen.split.model.seed_N."""

from sparseshift.pipelines.modelling.pipeline import create_pipeline

__all__ = ["create_pipeline"]
