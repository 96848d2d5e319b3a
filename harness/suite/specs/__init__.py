"""What a suite may ask for beside its learners and protocols: one file each for tables, figures, claims and so on."""
