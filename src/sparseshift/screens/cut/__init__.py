"""What is taken from a file that is too large, or labelled too differently, to be used as it is."""

from sparseshift.screens.cut.choice import Cut
from sparseshift.screens.cut.cut import cut_screen
from sparseshift.screens.cut.labels import LabelRule

__all__ = ["Cut", "LabelRule", "cut_screen"]
