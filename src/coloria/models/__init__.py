"""The networks; `registry.py` lists them."""
