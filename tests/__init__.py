"""Tests: one module per module of xzgw, then the whole over real sockets."""
