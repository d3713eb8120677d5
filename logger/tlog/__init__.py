"""The transparency log's mathematics: Merkle tree, proofs, keys, signed notes and checkpoints. Imports files."""
