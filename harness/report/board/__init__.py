"""A leaderboard as a static site: one self-contained page, and its tables as files."""
