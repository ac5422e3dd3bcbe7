"""Codecs: golden bytes, and properties over any bytes."""
