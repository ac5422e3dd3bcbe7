"""Tests of xzgw.tools.bench."""
