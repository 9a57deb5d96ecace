"""What a stranger's file can do to its reader, told from its metadata before any data are read."""
