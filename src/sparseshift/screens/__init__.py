"""Screens as AnnData: which columns they use, what is wrong with them, which cells and genes to keep."""
