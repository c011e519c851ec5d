"""How sure one may be of a share or a difference. Pure; what suites, triage and the gate reason with."""
