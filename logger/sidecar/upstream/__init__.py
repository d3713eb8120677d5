"""The inference server as the sidecar meets it: client, event stream, deadlines, likely causes."""
