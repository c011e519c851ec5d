"""The rendered sample set whose truth is known by construction, and the judge of what an engine made of it."""
