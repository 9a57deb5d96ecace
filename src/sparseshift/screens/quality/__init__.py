"""How good the data of a screen are: cells, counts, targets, batches."""
