"""A trained encoder lands where the convex program says, from samples alone."""

from __future__ import annotations

import pytest
import torch

from couplings import InfoNCE
from couplings.basics.errors import InvalidInput
from couplings_theory.latent_classes import Prototypes, Training, optimal_gram, population_loss, train_encoder

RARE = (0.85, 0.1, 0.05)
SHORT = Training(steps=250, batch=96)


def test_infonce_with_own_negatives_is_the_loss_of_the_model_sample_by_sample() -> None:
    x, y = (torch.nn.functional.normalize(torch.randn(7, 3, dtype=torch.float64), dim=1) for _ in range(2))
    others = torch.nn.functional.normalize(torch.randn(7, 4, 3, dtype=torch.float64), dim=2)

    def model(anchor: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
        score = torch.einsum("nd,nkd->nk", anchor, others - positive[:, None])
        return torch.log1p(torch.exp(2.5 * score).sum(1)).mean()

    found = InfoNCE(temperature=1 / 2.5)(x, y, negatives=others)
    torch.testing.assert_close(found, (model(x, y) + model(y, x)) / 2, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("prior", "k", "scale"), [(RARE, 1, 1.0), ((0.6, 0.3, 0.1), 4, 1.0), ((0.5, 0.5), 3, 2.0)])
def test_it_lands_on_the_predicted_gram(prior: tuple[float, ...], k: int, scale: float) -> None:
    best = optimal_gram(prior, k=k, scale=scale)
    found = train_encoder(prior, k=k, scale=scale, seed=1, training=SHORT)
    assert (found.gram - best.gram).abs().max() < 0.1
    assert 0 < float(population_loss(found.gram, prior, k=k, scale=scale)) - best.loss < 3e-3
    assert found.scatter.collapse < 0.01


def test_untrained_it_has_not_landed() -> None:
    found = train_encoder(RARE, k=1, training=Training(steps=1, batch=32))
    assert (found.gram - optimal_gram(RARE, k=1).gram).abs().max() > 0.3
    assert found.scatter.collapse > 0.05


def test_a_seed_decides() -> None:
    training = Training(steps=3, batch=16)
    first, again, other = (train_encoder(RARE, k=2, seed=seed, training=training) for seed in (0, 0, 1))
    assert torch.equal(first.gram, again.gram)
    assert not torch.equal(first.gram, other.gram)


def test_samples_stay_within_the_radius_and_fill_the_ball() -> None:
    classes = torch.arange(3).repeat(2000)
    samples = Prototypes(0.5).samples(classes, 3, torch.Generator().manual_seed(0))
    away = (samples - torch.eye(3, dtype=torch.float64)[classes]).norm(dim=1)
    assert away.max() <= 0.5
    assert ((away / 0.5) ** 3).mean() == pytest.approx(0.5, abs=0.02)  # uniform in volume


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train_encoder([0.5, 0.4], k=1), "prior must sum to one"),
        (lambda: train_encoder(RARE, k=0), "k .*must be an integer >= 1"),
        (lambda: train_encoder(RARE, k=1, scale=0.0), "scale must be > 0"),
        (lambda: Prototypes(0.8), "radius must be below 0.7"),
        (lambda: Training(steps=0), "steps must be at least 1"),
        (lambda: Training(rate=-1.0), "rate must be > 0"),
    ],
)
def test_bad_input_is_told(call: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        call()  # type: ignore[operator]
