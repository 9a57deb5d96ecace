"""How a model is fitted: one plain loop, its settings, its history."""
