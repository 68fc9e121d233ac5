"""Scores that are ready at about the same time, submitted together by one transaction."""
