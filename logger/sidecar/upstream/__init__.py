"""The inference server as the sidecar sees it: client, event stream, deadlines, likely causes of failures."""
