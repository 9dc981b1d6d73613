"""Pictures: finding them, telling their format, decoding them."""
