"""Who says that a picture is bad, and of what: signals of any kind in, failures out. Pure."""
