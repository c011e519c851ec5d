"""The LanceDB side: indices over stored vectors, and Lance as an export format."""
