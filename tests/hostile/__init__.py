"""Every peer broken or malicious, against a gateway process that serves an honest device."""
