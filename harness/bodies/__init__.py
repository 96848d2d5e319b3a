"""One file for each body: a network that maps images to embeddings and that learners train."""
