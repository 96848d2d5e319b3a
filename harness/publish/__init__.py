"""What leaves the project: papers, submissions, leaderboards, and where each number came from."""
