"""Where dot products and logits live: the one seam between what is computed and how it is stored."""
