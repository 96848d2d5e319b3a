"""Storage of finished cells: folders and buckets, file formats, packs, and maintenance."""
