"""Batches larger than one call: several processes, a queue of keys, encoders in two passes."""
