"""The audit of selected records: the task queue, the auditor, verdicts as rows. Imports database."""
