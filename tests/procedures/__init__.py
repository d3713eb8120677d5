"""The procedures of docs/maintenance.md, each done with real parts as the page says."""
