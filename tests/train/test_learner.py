"""What a step does, against the same step written by hand: momentum, queue, predictor, multi-crop, pairs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from couplings import InfoNCE
from couplings.train import ConfigError, Dataset, RunConfig, from_arrays, train, with_overrides
from couplings.train.config import MomentumConfig, OptimiserConfig
from couplings.train.encoders import Model
from couplings.train.learner import Seen, decay
from couplings.train.optimisers import build_optimiser
from couplings.train.pictures import draw_coupling
from couplings.train.sampling import Sampler
from couplings.train.trainer import Trainer, prepare

Prepared = Callable[..., Trainer]
T = 0.2
PLAIN_SGD = {"optimiser.name": "sgd", "optimiser.momentum": 0.0, "optimiser.weight_decay": 0.0, "optimiser.lr": 0.1}
CONSTANT = {"optimiser.schedule": "constant", "optimiser.warmup_steps": 0}
LOCAL = {"views.local": {"count": 3, "size": 4}}


@pytest.fixture
def prepared(tiny_config: RunConfig, tiny_data: Dataset) -> Prepared:
    """A trainer before its first step, in double precision."""

    def make(**changes: Any) -> Trainer:
        double = {"precision": "64-true", "loss.temperature": T, **PLAIN_SGD, **CONSTANT}
        config = with_overrides(tiny_config, {**double, **changes})
        return prepare(config, tiny_data, Fabric(accelerator="cpu", devices=1, precision="64-true"))

    return make


def _network(trainer: Trainer) -> Model:
    return trainer.learner.model.module


def _seen(trainer: Trainer) -> Seen:
    """What the next step will see."""
    seen = trainer._seen(trainer.sampler.draw(trainer.done))
    return Seen(tuple(view.double() for view in seen.views), _double(seen.negatives), *_rest(seen))


def _double(images: Tensor | None) -> Tensor | None:
    return None if images is None else images.double()


def _rest(seen: Seen) -> tuple[Any, ...]:
    return seen.chosen, seen.sides, seen.shown, seen.together


def _descend(model: nn.Module, value: Tensor, lr: float = 0.1) -> None:
    """Plain gradient descent, by hand."""
    model.zero_grad()
    value.backward()
    with torch.no_grad():
        for weight in model.parameters():
            weight -= lr * weight.grad


def _follow(slow: nn.Module, model: nn.Module, keep: float) -> None:
    with torch.no_grad():
        for old, new in zip(slow.parameters(), model.parameters(), strict=True):
            old.copy_(keep * old + (1 - keep) * new)


def _same(one: nn.Module, two: nn.Module) -> None:
    for (name, a), b in zip(one.named_parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7, msg=lambda text, name=name: f"{name}: {text}")


def _equal(value: Tensor, expected: Tensor) -> None:
    # Fabric hands on what a network in double precision returns in single.
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)


def _infonce(q: Tensor, k: Tensor, queue: Tensor, own: Tensor) -> Tensor:
    """InfoNCE of both views' rows against all other samples and a queue, ``own`` (n, m) keys left out."""
    n, z = len(q), F.normalize(torch.cat([q, k]))
    scores = z @ torch.cat([z, F.normalize(queue)]).T / T
    partner = torch.arange(2 * n).roll(n)
    scores[torch.arange(2 * n), torch.arange(2 * n)] = -math.inf
    scores[:, 2 * n :] = scores[:, 2 * n :].masked_fill(own.repeat(2, 1), -math.inf)
    return F.cross_entropy(scores, partner)


def test_steps_with_momentum_and_a_queue(prepared: Prepared) -> None:
    trainer = prepared(**{"momentum.decay": 0.9, "momentum.queue": 40})
    model = copy.deepcopy(_network(trainer))
    slow = copy.deepcopy(model)
    queue, ids = torch.empty(0, 8, dtype=torch.float64), torch.empty(0, dtype=torch.long)
    for _ in range(4):  # the fourth is of the second epoch: images come again
        seen = _seen(trainer)
        trainer.step(0.1)
        q = model(torch.cat(seen.views)).projections.chunk(2)
        k = [part.detach() for part in slow(torch.cat(seen.views)).projections.chunk(2)]
        own = seen.shown[0][:, None] == ids
        _descend(model, (_infonce(q[0], k[1], queue, own) + _infonce(q[1], k[0], queue, own)) / 2)
        _follow(slow, model, 0.9)
        queue, ids = torch.cat([queue, *k])[-40:], torch.cat([ids, seen.shown[0], seen.shown[0]])[-40:]
        assert trainer.learner.slow is not None
        assert trainer.learner.queue is not None
        _same(_network(trainer), model)
        _same(trainer.learner.slow, slow)
        assert trainer.learner.queue.keys is not None
        # A ring: the newest key is where the oldest was.
        ring = queue if len(ids) < 40 else queue.roll(32 * trainer.done % 40, 0)
        torch.testing.assert_close(trainer.learner.queue.keys.double(), ring, rtol=1e-5, atol=1e-6)


def test_steps_of_byol(prepared: Prepared) -> None:
    byol = {"predictor.hidden": 8, "momentum.decay": 0.9, "momentum.rise": True, "loss": "alignment"}
    trainer = prepared(**byol, **{"loss.temperature": 0.5, "steps": 4})
    model = copy.deepcopy(_network(trainer))
    slow = copy.deepcopy(model)
    for step in range(4):
        seen = _seen(trainer)
        trainer.step(0.1)
        p = [F.normalize(part) for part in model(torch.cat(seen.views)).predictions.chunk(2)]
        k = [F.normalize(part.detach()) for part in slow(torch.cat(seen.views)).projections.chunk(2)]
        # BYOL sums the two; the mean is half of it.
        _descend(model, ((p[0] - k[1]).square().sum(1) + (p[1] - k[0]).square().sum(1)).mean() / 2)
        _follow(slow, model, 1 - 0.1 * (math.cos(math.pi * step / 4) + 1) / 2)
        assert trainer.learner.slow is not None
        _same(_network(trainer), model)
        _same(trainer.learner.slow, slow)


def test_a_step_of_simsiam(prepared: Prepared) -> None:
    trainer = prepared(**{"predictor.hidden": 8, "loss": "alignment", "loss.temperature": 1.0})
    model, seen = copy.deepcopy(_network(trainer)), _seen(trainer)
    trainer.step(0.1)
    out = model(torch.cat(seen.views))
    (p1, p2), (z1, z2) = out.predictions.chunk(2), out.projections.detach().chunk(2)
    _descend(model, 1 - (F.cosine_similarity(p1, z2).mean() + F.cosine_similarity(p2, z1).mean()) / 2)
    _same(_network(trainer), model)
    assert trainer.learner.slow is None


def test_without_decay_the_keys_are_the_network_s_own(prepared: Prepared) -> None:
    trainer = prepared(**{"momentum.decay": 0.0})
    model, seen = copy.deepcopy(_network(trainer)), _seen(trainer)
    value = trainer.step(0.1).value
    z = model(torch.cat(seen.views)).projections.chunk(2)
    nobody = torch.empty(0, 8, dtype=torch.float64), torch.empty(len(z[0]), 0, dtype=torch.bool)
    expected = (_infonce(z[0], z[1].detach(), *nobody) + _infonce(z[1], z[0].detach(), *nobody)) / 2
    _equal(value, expected)
    _descend(model, expected)
    _same(_network(trainer), model)


def test_the_slow_copy_is_a_constant(prepared: Prepared) -> None:
    trainer = prepared(**{"momentum.decay": 1.0, "momentum.queue": 10})
    before = copy.deepcopy(_network(trainer))
    trainer.step(0.1)
    assert trainer.learner.slow is not None
    _same(trainer.learner.slow, before)
    assert not any(weight.requires_grad for weight in trainer.learner.slow.parameters())
    trained = {id(weight) for group in trainer.optimiser.param_groups for weight in group["params"]}
    assert not trained & {id(weight) for weight in trainer.learner.slow.parameters()}


@pytest.mark.parametrize(("rise", "expected"), [(False, [0.9, 0.9, 0.9]), (True, [0.9, 0.95, 1.0])])
def test_the_decay_of_a_run(rise: bool, expected: list[float]) -> None:
    config = MomentumConfig(decay=0.9, rise=rise)
    assert [decay(config, step, 100) for step in (0, 50, 100)] == pytest.approx(expected)


def test_keys_come_into_the_queue_after_their_step(prepared: Prepared) -> None:
    trainer = prepared(**{"momentum.queue": 100})
    assert trainer.learner.queue is not None
    seen = _seen(trainer)
    trainer.learner.outcome(seen)
    assert len(trainer.learner.queue) == 0
    trainer.learner.follow(0)
    assert trainer.learner.queue.ids is not None
    assert trainer.learner.queue.ids.tolist() == seen.shown[0].tolist() * 2


def test_what_is_measured_of_a_step_has_the_keys_that_it_was_compared_with(prepared: Prepared) -> None:
    trainer = prepared(**{"momentum.queue": 40, "diagnose_every": 3})
    for _ in range(2):
        trainer.step(0.1)
    queue = trainer.learner.queue
    assert queue is not None
    before = queue.keys.clone()
    outcome = trainer.step(0.1)
    assert not torch.equal(queue.keys, before)
    keys = outcome.call.sides.get("keys")
    assert isinstance(keys, Tensor)
    assert torch.equal(keys, before.to(keys))


def test_measuring_the_speed_leaves_no_trace(prepared: Prepared) -> None:
    measured, plain = (prepared(**{"momentum.queue": 20, "predictor.hidden": 8}) for _ in range(2))
    measured.seconds_per_step()
    for trainer in (measured, plain):
        trainer.step(0.1)
    assert measured.learner.queue is not None
    assert plain.learner.queue is not None
    assert torch.equal(measured.learner.queue.stored, plain.learner.queue.stored)
    _same(_network(measured), _network(plain))


def test_networks_draw_anew_at_each_step(prepared: Prepared) -> None:
    """Dropout takes the random numbers of the seed that was set last."""
    trainer, seeds = prepared(), set[int]()
    for _ in range(3):
        trainer.step(0.1)
        seeds.add(torch.initial_seed())
    assert len(seeds) == 3


def test_a_key_knows_which_image_it_shows(prepared: Prepared) -> None:
    trainer = prepared(**{"momentum.decay": 0.9, "momentum.queue": 1000, "pairs.positives": "class"})
    seen = _seen(trainer)
    trainer.step(0.1)
    assert trainer.learner.queue is not None
    assert trainer.learner.queue.ids is not None
    assert trainer.learner.queue.ids.tolist() == seen.shown.flatten().tolist()
    shown = _seen(trainer).shown
    assert trainer.step(0.1).call.sides["ids"].tolist() == shown[0].tolist() != shown[1].tolist()


def test_double_precision_reaches_the_loss(prepared: Prepared) -> None:
    trainer = prepared(**{"precision": "64-true", "momentum.queue": 40})
    outcome = trainer.step(0.1)
    assert {outcome.value.dtype, *(view.dtype for view in outcome.projections)} == {torch.float64}
    assert trainer.learner.queue is not None
    assert trainer.learner.queue.stored.dtype == torch.float64


# Multi-crop


def test_local_views_are_compared_with_all_others(prepared: Prepared) -> None:
    trainer = prepared(**LOCAL)
    model, seen = copy.deepcopy(_network(trainer)), _seen(trainer)
    assert [view.shape[2] for view in seen.views] == [8, 8, 4, 4, 4]
    value = trainer.step(0.1).value
    z = [*model(torch.cat(seen.views[:2])).projections.chunk(2), *model(torch.cat(seen.views[2:])).projections.chunk(3)]
    _equal(value, InfoNCE(temperature=T)(*z))


def test_the_slow_copy_sees_no_local_views(prepared: Prepared) -> None:
    trainer = prepared(**LOCAL, **{"momentum.decay": 0.9, "momentum.queue": 1000})
    sizes: list[tuple[int, ...]] = []
    assert trainer.learner.slow is not None
    trainer.learner.slow.encoder.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].shape))
    trainer.step(0.1)
    assert [size[2] for size in sizes] == [8]
    assert trainer.learner.queue is not None
    assert len(trainer.learner.queue) == 2 * trainer.config.batch_size


def test_each_pair_of_a_view_and_a_key_weighs_alike(prepared: Prepared) -> None:
    """As in SwAV and DINO: the alignment of a local view with a global one counts like that of two global ones."""
    trainer = prepared(**LOCAL, **{"momentum.decay": 0.9, "loss": "alignment", "loss.temperature": 0.5})
    model, seen = copy.deepcopy(_network(trainer)), _seen(trainer)
    slow = copy.deepcopy(model)
    q = [*model(torch.cat(seen.views[:2])).projections.chunk(2), *model(torch.cat(seen.views[2:])).projections.chunk(3)]
    k = [part.detach() for part in slow(torch.cat(seen.views[:2])).projections.chunk(2)]
    pairs = [(a, b) for a in range(5) for b in range(2) if a != b]
    terms = [2 - 2 * F.cosine_similarity(q[a], k[b]).mean() for a, b in pairs]
    value = trainer.step(0.1).value
    _equal(value, torch.stack(terms).mean())


@pytest.mark.parametrize("changes", [{"views.count": 5}, LOCAL])
def test_far_keys_attract_more_where_the_loss_says_so(prepared: Prepared, changes: dict[str, Any]) -> None:
    cacr = {"loss": "cacr", "momentum.decay": 0.9, "loss.params": {}, **changes}
    alike, far = (prepared(**{**cacr, "loss.params": {"t_positive": t}}) for t in (0.0, 5.0))
    assert far.step(0.1).value.item() > alike.step(0.1).value.item() + 1e-3


def test_a_coupling_with_local_views_is_drawn(tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    run = train(with_overrides(tiny_config, {**LOCAL, "steps": 1}), tmp_path / "run", dataset=tiny_data)
    draw_coupling(run, tiny_data, tmp_path / "coupling.png")
    assert (tmp_path / "coupling.png").stat().st_size > 0


# Pairs


def _labelled(count: int = 4000, classes: int = 4) -> Dataset:
    """Images that nobody looks at."""
    return from_arrays(torch.zeros(count, 2, 2), torch.arange(count) % classes, test_fraction=0.1)


def _sampler(data: Dataset, **changes: Any) -> Sampler:
    return Sampler(with_overrides(RunConfig(), {"batch_size": 256, **changes}), data)


def _drawn(sampler: Sampler, steps: int) -> Tensor:
    return torch.cat([sampler.draw(step).images for step in range(steps)], 1)


def test_a_share_of_the_positives_is_wrong() -> None:
    data = _labelled()
    first, *others = _drawn(_sampler(data, **{"pairs.wrong": 0.3, "views.count": 3}), 60)
    wrong = torch.stack(others) != first
    assert wrong.float().mean(1).tolist() == pytest.approx([0.3, 0.3], abs=0.015)
    # The views are wrong independently of each other, and show any image.
    assert wrong.all(0).float().mean().item() == pytest.approx(0.09, abs=0.01)
    shown = torch.stack(others)[wrong]
    assert shown.double().mean().item() == pytest.approx(len(data.train_images) / 2, rel=0.03)


def test_partners_are_others_of_the_class_all_alike_often() -> None:
    data = _labelled(60)
    assert data.train_labels is not None
    drawn = _drawn(_sampler(data, **{"pairs.positives": "class", "batch_size": 32}), 1500)
    anchors, partners = drawn
    assert torch.equal(data.train_labels[anchors], data.train_labels[partners])
    assert not (anchors == partners).any()
    counts = torch.zeros(len(data.train_images), len(data.train_images))
    counts.index_put_((anchors, partners), torch.ones(len(anchors)), accumulate=True)
    frequencies = counts[counts > 0] * (counts > 0).sum() / counts.sum()
    assert (counts > 0).sum() == sum(size * (size - 1) for size in data.train_labels.bincount().tolist())
    assert frequencies.std().item() < 1.3 * math.sqrt((counts > 0).sum().item() / counts.sum().item())


def test_wrong_partners_of_a_class() -> None:
    data = _labelled(classes=10)
    assert data.train_labels is not None
    anchors, partners = _drawn(_sampler(data, **{"pairs.positives": "class", "pairs.wrong": 0.5}), 60)
    other = data.train_labels[anchors] != data.train_labels[partners]
    assert other.float().mean().item() == pytest.approx(0.5 * 0.9, abs=0.015)


def test_own_negatives_are_independent_draws_from_all_images() -> None:
    data = _labelled(400)
    assert data.train_labels is not None
    sampler = _sampler(data, **{"pairs.negatives": 4, "batch_size": 128})
    drawn = [sampler.draw(step) for step in range(120)]
    shown = torch.stack([each.negatives[each.chosen] for each in drawn])  # type: ignore[index]
    anchors = torch.stack([each.images[0] for each in drawn])
    count = len(data.train_images)
    # Neither the anchor nor its class is avoided, and no two anchors' negatives go together.
    for pairs in (shown[..., 0] == shown[..., 1], shown[:, :-1, 0] == shown[:, 1:, 0], shown[..., 0] == anchors):
        assert pairs.float().mean().item() == pytest.approx(1 / count, abs=4 * math.sqrt(1 / count / pairs.numel()))
    same = data.train_labels[shown] == data.train_labels[anchors][..., None]
    assert same.float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert shown.flatten().bincount(minlength=count).double().std().item() < 1.2 * math.sqrt(shown.numel() / count)


def test_negatives_of_a_pool_are_shared() -> None:
    drawn = _sampler(_labelled(), **{"pairs.negatives": 20, "pairs.pool": 8}).draw(3)
    assert drawn.negatives is not None
    assert drawn.chosen is not None
    assert len(drawn.negatives) == 8
    assert drawn.chosen.shape == (256, 20)
    assert drawn.chosen.unique().tolist() == list(range(8))


@pytest.mark.parametrize("changes", [{}, {"momentum.decay": 0.9}, {"pairs.pool": 6}])
def test_a_step_with_own_negatives(prepared: Prepared, changes: dict[str, Any]) -> None:
    trainer = prepared(**{"pairs.negatives": 3, "pairs.positives": "class", **changes})
    model, seen = copy.deepcopy(_network(trainer)), _seen(trainer)
    assert seen.negatives is not None
    assert seen.chosen is not None
    value = trainer.step(0.1).value
    if "momentum.decay" in changes:
        q = model(torch.cat(seen.views)).projections.chunk(2)
        with torch.no_grad():
            *k, extra = model(torch.cat([*seen.views, seen.negatives])).projections.split([16, 16, len(seen.negatives)])
        calls = [(q[0], k[1]), (q[1], k[0])]
    else:
        *z, extra = model(torch.cat([*seen.views, seen.negatives])).projections.split([16, 16, len(seen.negatives)])
        calls = [(z[0], z[1])]
    expected = torch.stack([_own(a, b, extra[seen.chosen]) for a, b in calls]).mean()
    _equal(value, expected)
    _descend(model, expected)
    _same(_network(trainer), model)


def _own(a: Tensor, b: Tensor, negatives: Tensor) -> Tensor:
    """InfoNCE of both rows of a sample, each against the other and the sample's negatives."""
    a, b, negatives = F.normalize(a), F.normalize(b), F.normalize(negatives, dim=-1)
    attraction = (a * b).sum(1, keepdim=True)
    scores = [torch.cat([attraction, torch.einsum("nd,nkd->nk", z, negatives)], 1) / T for z in (a, b)]
    return F.cross_entropy(torch.cat(scores), torch.zeros(2 * len(a), dtype=torch.long))


@pytest.mark.parametrize("changes", [{"pairs.negatives": 4}, {"pairs.negatives": 4, "momentum.decay": 0.9}])
def test_one_image_a_step(changes: dict[str, Any], tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path) -> None:
    config = with_overrides(tiny_config, {**changes, "batch_size": 1, "encoder.width": 4})
    assert train(config, tmp_path / "run", dataset=tiny_data).finished


def test_one_image_a_step_and_a_queue_is_refused(tiny_config: RunConfig) -> None:
    """The queue is empty at the first step."""
    with pytest.raises(ConfigError, match="batch_size: got 1"):
        with_overrides(tiny_config, {"momentum.queue": 16, "batch_size": 1})


def test_labels_reach_the_loss(prepared: Prepared, tiny_data: Dataset) -> None:
    trainer = prepared(**{"pairs.labels": True, "loss": "supcon", "loss.temperature": T})
    model, seen = copy.deepcopy(_network(trainer)), _seen(trainer)
    assert tiny_data.train_labels is not None
    labels = tiny_data.train_labels[seen.shown[0]].repeat(2)
    z = F.normalize(model(torch.cat(seen.views)).projections)
    scores = (z @ z.T / T).masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf)
    positive = (labels[:, None] == labels) & ~torch.eye(len(z), dtype=torch.bool)
    logs = scores.log_softmax(1).masked_fill(~positive, 0)
    expected = -(logs.sum(1) / positive.sum(1)).mean()
    _equal(trainer.step(0.1).value, expected)


def test_domains_reach_the_loss_and_its_picture(tiny_config: RunConfig, tmp_path: Path) -> None:
    images, rows = torch.rand(40, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(40)
    data = from_arrays(images, rows % 2, domains=rows // 2 % 2, test_fraction=0.2)
    changes = {"loss": "gca-ince", "loss.target": {"within": 0.3, "across": 0.1}, "pairs.domains": True}
    run = train(with_overrides(tiny_config, changes), tmp_path / "run", dataset=data)
    draw_coupling(run, data, tmp_path / "coupling.png")
    assert (tmp_path / "coupling.png").stat().st_size > 0


# Settings that cannot work say so before they train


BALANCED = ["gca-ince", "gca-rince", "iot"]


@pytest.mark.parametrize("loss", [*BALANCED, "alignment"])
def test_a_loss_that_takes_no_queue_is_refused_before_training(
    loss: str, tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"momentum\.queue"):
        train(with_overrides(tiny_config, {"loss": loss, "momentum.queue": 32}), tmp_path / "run", dataset=tiny_data)


@pytest.mark.parametrize("loss", [*BALANCED, "alignment"])
def test_a_loss_that_takes_no_own_negatives_is_refused_before_training(
    loss: str, tiny_config: RunConfig, tiny_data: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"pairs\.negatives"):
        train(with_overrides(tiny_config, {"loss": loss, "pairs.negatives": 4}), tmp_path / "run", dataset=tiny_data)


@pytest.mark.parametrize("key", ["predictor", "momentum", "views.local"])
def test_a_part_can_be_left_out_again(key: str) -> None:
    whole = {"predictor.hidden": 8, "momentum.decay": 0.9, **LOCAL}
    config = with_overrides(with_overrides(RunConfig(), whole), {key: None})
    part: Any = config
    for name in key.split("."):
        part = getattr(part, name)
    assert part is None


# Optimisers


def _moved(name: str, gradient: Callable[[Tensor], Tensor], **settings: Any) -> Sequence[Tensor]:
    """How far a step at rate 1 moves the weight, the bias and the batch norm of a network."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    before = [weight.detach().clone() for weight in model.parameters()]
    config = OptimiserConfig(**{"name": name, "lr": 1.0, "weight_decay": 1e-2, **settings})
    optimiser = build_optimiser(model, nn.Module(), config)
    for weight in model.parameters():
        weight.grad = gradient(weight)
    optimiser.step()
    return [new.detach() - old for new, old in zip(model.parameters(), before, strict=True)]


def test_lars_leaves_biases_and_batch_norms_to_sgd() -> None:
    """As BYOL, SimCLR and MoCo v3 have it: no decay and no rate of their own for what has one dimension."""
    weight, *others = _moved("lars", torch.ones_like)
    assert weight.norm() < 0.05
    for moved in others:
        torch.testing.assert_close(moved, -torch.ones_like(moved))


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "lars"])
def test_what_a_loss_learns_does_not_decay(name: str) -> None:
    loss = InfoNCE(0.1, learnable=True)
    before = loss.log_scale.item()
    optimiser = build_optimiser(nn.Linear(4, 4), loss, OptimiserConfig(name=name, lr=1.0, weight_decay=0.5))
    for weight in (weight for group in optimiser.param_groups for weight in group["params"]):
        weight.grad = torch.zeros_like(weight)
    optimiser.step()
    assert loss.log_scale.item() == before


@pytest.mark.parametrize(("nesterov", "first"), [(False, 1.0), (True, 1.5)])
def test_nesterov_looks_one_step_ahead(nesterov: bool, first: float) -> None:
    """The first step is the gradient g, or g + momentum g."""
    moved = _moved("sgd", torch.ones_like, weight_decay=0.0, momentum=0.5, nesterov=nesterov)
    assert all(torch.allclose(part, torch.full_like(part, -first)) for part in moved)


def test_the_rate_of_lars_does_not_depend_on_the_size_of_the_gradient() -> None:
    weight, *_ = _moved("lars", torch.ones_like)
    larger, *_ = _moved("lars", lambda weight: 1000 * torch.ones_like(weight))
    assert larger.norm().item() == pytest.approx(weight.norm().item(), rel=0.2)
