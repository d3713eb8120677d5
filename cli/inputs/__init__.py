"""What a run reads: traffic files or archives, the records that are selected, a witness's checkpoints."""
