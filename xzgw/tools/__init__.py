"""What users run by hand: demo, simulated device, echo server."""
