"""How each setting is named, read from its sources and checked; config.py puts them together."""
