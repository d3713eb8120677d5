"""The verification server's HTTP API and its dashboard. Imports accounting, alerting, audit, database."""
