"""Tests that need programs which pip cannot install: Debian's mosquitto-clients, haproxy, openssl."""
