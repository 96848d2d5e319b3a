"""What a store is made of: files in a folder or a bucket, the format of a cell, packs of many cells, and their upkeep."""
