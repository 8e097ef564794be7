"""Keys by which other programs call the API: made, listed, rotated, revoked and verified."""
