"""The sidecar's cost per request, beside a plain proxy."""
