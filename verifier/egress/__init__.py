"""The tap: captures of the link between the inference server and the sidecar, accounted for frame by frame."""
