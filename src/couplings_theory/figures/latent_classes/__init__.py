"""Pictures of the latent-class model: `equal` classes, `skewed` priors, and what is `drawn` at random."""
