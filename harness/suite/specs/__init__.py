"""What a suite may ask for besides learners and protocols: tables, figures, claims and so on."""
