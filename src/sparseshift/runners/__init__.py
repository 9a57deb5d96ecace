"""Kedro runners beside Kedro's own."""

from sparseshift.runners.dask_runner import DaskRunner

__all__ = ["DaskRunner"]
