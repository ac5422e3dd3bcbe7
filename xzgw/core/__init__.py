"""Decisions: sessions, devices, MCP, backends. No bytes, no sockets."""
