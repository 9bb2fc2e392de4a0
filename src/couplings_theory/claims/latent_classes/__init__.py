"""Claims about the number of negatives in the latent-class model."""

from couplings_theory.claims.latent_classes.equal import EQUAL
from couplings_theory.claims.latent_classes.merging import MERGING
from couplings_theory.claims.latent_classes.skewed import SKEWED
from couplings_theory.claims.latent_classes.trained import TRAINED
from couplings_theory.claims.latent_classes.worth import WORTH

CLAIMS = (*EQUAL, *SKEWED, *MERGING, *WORTH, *TRAINED)
