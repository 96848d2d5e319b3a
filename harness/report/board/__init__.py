"""A leaderboard as a static site: one page that carries all it needs, and its tables as files beside it."""
