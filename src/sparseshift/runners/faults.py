"""The error of a run that cannot be done on a cluster."""

import click

from sparseshift.errors import SparseshiftError


class DaskRunnerError(SparseshiftError, click.ClickException):
    """A run that cannot be done on a cluster.

    Kedro makes a runner before there is a session that would print the error for a person; as a
    `ClickException` it is printed so nevertheless.
    """
