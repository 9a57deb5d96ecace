"""What a person can put right. The command line shows these without a traceback."""


class SparseshiftError(Exception):
    """A fault whose text says what was found, where, and what to do about it."""


class ScreenError(SparseshiftError, ValueError):
    """A screen that cannot be used as it is: wrong columns, labels or counts."""


class OptionError(SparseshiftError, ValueError):
    """An option or parameter that does not exist or has an impossible value."""


class TrainingError(SparseshiftError, RuntimeError):
    """Training cannot go on: a term of the objective is not finite."""
