"""Tests of xzgw.tools."""
