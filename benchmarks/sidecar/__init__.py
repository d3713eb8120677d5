"""What the sidecar costs a request, beside a plain proxy."""
