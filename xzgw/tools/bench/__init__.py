"""How many devices a gateway carries, and what they cost."""
