"""Tests of the admin HTTP API."""
