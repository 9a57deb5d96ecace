"""Which errors a person can put right, and what to tell them."""

import logging
import re
import sys
from collections.abc import Callable

import yaml
from kedro.config import MissingConfigException
from kedro.io import DatasetError
from kedro.validation.exceptions import ParameterValidationError
from omegaconf.errors import OmegaConfBaseException

from sparseshift.errors import SparseshiftError

ACTIONABLE = (
    DatasetError,
    MissingConfigException,
    OmegaConfBaseException,
    ParameterValidationError,
    yaml.YAMLError,
)
# Kedro has no class of its own for names of pipelines, nodes and datasets that do not exist.
KEDRO_VALUE_ERRORS = re.compile(
    r"Failed to find the pipeline named|Pipeline does not contain |Pipeline contains no nodes |"
    r"Pipeline input\(s\) .* not found"
)
PYDANTIC_LINK = re.compile(r"\n\s*For further information visit \S+")


def advice(error: BaseException) -> str | None:
    """The text for a person, or None for a fault of the program, which needs its traceback.

    A `SparseshiftError` may come wrapped, in a `DatasetError` for example; then the innermost one
    speaks. The text of other errors already contains those of the errors that they wrap.
    """
    cause: BaseException | None = error
    own = None
    while cause is not None:
        own = cause if isinstance(cause, SparseshiftError) else own
        cause = cause.__cause__
    if own is not None:
        return str(own)
    named = isinstance(error, ValueError) and KEDRO_VALUE_ERRORS.match(str(error))
    if named or isinstance(error, ACTIONABLE):
        return PYDANTIC_LINK.sub("", str(error)).strip()
    return None


def hide_repeated_texts() -> Callable[[], None]:
    """Keep Kedro from logging the texts that the command prints at its end.

    Returns:
        A function that undoes it.
    """
    loggers = [
        logging.getLogger(name)
        for name in ("kedro.pipeline.node", "kedro.validation.parameter_validator")
    ]
    for logger in loggers:
        logger.addFilter(_without_advice)

    def undo() -> None:
        for logger in loggers:
            logger.removeFilter(_without_advice)

    return undo


def _without_advice(record: logging.LogRecord) -> bool:
    if record.name.startswith("kedro.validation"):
        return record.levelno < logging.ERROR
    error = sys.exc_info()[1]
    if error is not None and advice(error) and isinstance(record.args, tuple):
        record.msg, record.args = "Node %s failed.", record.args[:1]
    return True
