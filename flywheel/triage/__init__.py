"""From failures to causes: what fails where, and which experiment would tell why. Pure: rows in, decisions out."""
