"""Fuzzing: every decoder of bytes from outside, driven by hypothesis for a while."""
