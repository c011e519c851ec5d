"""Whether a checkpoint may follow another: paired evidence in, a decision with its reasons out. Pure."""
