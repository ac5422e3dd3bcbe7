"""Sockets: Twisted and autobahn adapters, thin enough to check by eye."""
