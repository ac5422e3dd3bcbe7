"""Hours in minutes: what a gateway has to give back after much coming and going."""
