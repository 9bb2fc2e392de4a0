"""Claims about the number of negatives in the latent-class model."""

from couplings.theory.claims.latent_classes.equal import EQUAL
from couplings.theory.claims.latent_classes.merging import MERGING
from couplings.theory.claims.latent_classes.skewed import SKEWED
from couplings.theory.claims.latent_classes.trained import TRAINED
from couplings.theory.claims.latent_classes.worth import WORTH

CLAIMS = (*EQUAL, *SKEWED, *MERGING, *WORTH, *TRAINED)
