"""What the api-server serves and does for us."""
