"""Why a device does not work with a gateway."""
