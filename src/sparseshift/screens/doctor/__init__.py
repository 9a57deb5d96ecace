"""A look at a file: what is recognised, what is wrong with it, what would be left, what it would cost."""
