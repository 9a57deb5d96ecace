"""A miniature project with the shape of ours: two models, three fits, a comparison."""
