"""Decisions: pure, no fakes of our own code."""
