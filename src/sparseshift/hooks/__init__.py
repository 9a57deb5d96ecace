"""Kedro's hooks and session: tracking in MLflow, and runs that end cleanly."""

from sparseshift.hooks.mlflow import MLflowHook
from sparseshift.hooks.session import SparseshiftSession

__all__ = ["MLflowHook", "SparseshiftSession"]
