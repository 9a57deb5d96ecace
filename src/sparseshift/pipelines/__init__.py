"""Kedro pipelines: names of inputs and outputs around the library, no logic."""
