"""Tests of xzgw.net."""
