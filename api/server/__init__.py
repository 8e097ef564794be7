"""The web server's application and its worker class."""
