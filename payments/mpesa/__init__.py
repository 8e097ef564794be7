"""Our side of Daraja: the shared access token and the stored credentials."""
