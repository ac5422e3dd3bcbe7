"""Tests that need programs pip cannot install: mosquitto-clients, haproxy, openssl."""
