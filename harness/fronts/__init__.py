"""Fixed transformations of the image, in front of any learner: one file each."""
