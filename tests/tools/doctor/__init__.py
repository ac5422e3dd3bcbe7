"""Tests of xzgw.tools.doctor."""
