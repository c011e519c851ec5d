"""The four caption kinds: prompt, JSON schema, parser, verifier."""
