"""The views over core tables that need no policy. Those that do (scores, verdicts, funnel) come from filters."""

from __future__ import annotations

from collections.abc import Mapping

# One row a run: the fold of its events, ordered by seq and never by the clock.
_RUNS = """
SELECT run_id,
       any_value(step) AS step,
       CASE arg_max(event, seq)
            WHEN 'started' THEN 'running' WHEN 'heartbeat' THEN 'running'
            ELSE arg_max(event, seq) END AS status,
       arg_min("at", seq) AS started_at,
       arg_max("at", seq) AS last_at,
       any_value(driver) AS driver,
       any_value(code_revision) AS code_revision,
       any_value(config_hash) AS config_hash,
       arg_max(tables_in_json, seq) FILTER (tables_in_json IS NOT NULL) AS table_versions_in,
       arg_max(tables_out_json, seq) FILTER (tables_out_json IS NOT NULL) AS table_versions,
       arg_max(counts_json, seq) FILTER (counts_json IS NOT NULL) AS counts,
       arg_max(detail_json, seq) FILTER (detail_json IS NOT NULL) AS detail,
       max(wall_s) AS wall_s,
       max(cpu_s) AS cpu_s
FROM run_events GROUP BY run_id
"""

# The last word on each subject in each step: attempts count on across configurations, so a retry that
# succeeded, or budgets that were raised, hide the failure before.
_LAST_OUTCOMES = """
SELECT * FROM outcomes
QUALIFY row_number() OVER (PARTITION BY step, subject_id ORDER BY attempt DESC) = 1
"""

_REJECTS = """
SELECT coalesce(s.uri, o.subject_id) AS uri, o.step, o.status, o.reason, o.detail, o.retryable, o.subject_id
FROM last_outcomes o
LEFT JOIN (SELECT source_id AS subject_id, uri FROM sources
           UNION ALL SELECT image_id, uri FROM images) s USING (subject_id)
WHERE o.status IN ('rejected', 'quarantined')
"""

_DUPLICATES = "SELECT image_id, representative_id, distance, proof FROM duplicate_groups"

_ACTIVE_POLICY = """
SELECT policy_id, p.name, p.text, e.actor, e."at"
FROM policy_events e JOIN policies p USING (policy_id)
ORDER BY e.seq DESC LIMIT 1
"""

# One row a mode: its state is the last event that is one; how it stands is what was measured last.
_MODE_STATES = """
SELECT m.mode_id, m.name, m.facet, m.parts,
       coalesce(arg_max(e.event, e.seq) FILTER (e.event IN ('candidate', 'open', 'planned', 'healing', 'healed',
                                                            'regressed', 'exhausted', 'dismissed')), 'candidate') AS state,
       arg_max(e.detail_json, e.seq) FILTER (e.event = 'measured') AS measured_json,
       json_extract_string(arg_max(e.detail_json, e.seq) FILTER (e.event = 'routed'), '$.track') AS track,
       json_extract_string(arg_max(e.detail_json, e.seq) FILTER (e.event = 'routed'), '$.cause') AS cause,
       json_extract_string(arg_max(e.detail_json, e.seq) FILTER (e.event = 'snoozed'), '$.until') AS snoozed_until,
       json_extract_string(arg_max(e.detail_json, e.seq) FILTER (e.event = 'noted'), '$.text') AS note,
       arg_min(e."at", e.seq) AS found_at,
       arg_max(e."at", e.seq) AS changed_at
FROM modes m JOIN mode_events e USING (mode_id) GROUP BY m.mode_id, m.name, m.facet, m.parts
"""

VIEWS: Mapping[str, str] = {
    "mode_states": _MODE_STATES,
    "runs": _RUNS,
    "last_outcomes": _LAST_OUTCOMES,
    "rejects": _REJECTS,
    "duplicates": _DUPLICATES,
    "active_policy": _ACTIVE_POLICY,
}

# Those that need the active policy and the scorers, which cost as much to load as a small question itself: named
# here so that a question shows whether it wants them.
JUDGED = ("scores", "verdicts", "pair_verdicts", "funnel", "survivors")
