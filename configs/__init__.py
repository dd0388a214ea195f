"""Training recipes: one complete recipe a file; `smoke/` holds toy sizes."""
