"""The `coloria` command: one command a file, heavy imports inside the body."""
