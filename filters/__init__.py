"""Scorers, rules, the six-stage policy, duplicates and the funnel."""
