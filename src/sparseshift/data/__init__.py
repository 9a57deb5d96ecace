"""Arrays and tensors of a screen: cells, designs, splits, the simulator. No AnnData here."""
