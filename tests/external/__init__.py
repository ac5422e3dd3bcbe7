"""Tests that need what pip cannot install: Debian's mosquitto-clients, haproxy and openssl."""
