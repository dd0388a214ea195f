"""``python -m coloria`` is the command ``coloria``."""

from coloria.cli.main import main

if __name__ == "__main__":
    main()
