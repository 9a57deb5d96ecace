"""Figures, and the page that shows them. One figure a file; each function returns a Figure."""
