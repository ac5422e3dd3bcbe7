"""Tests of xzgw.settings."""
