"""Every gradient is the derivative of the value, in every argument that may carry one (float64).

Where a plan is a constant by definition (HCLOT, the alpha-CL family) the gradient is the derivative of the value
with the couplings held still, `loss.value(batch, fixed_couplings)`: the value itself moves with its plan too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from couplings import CLIP, Domains, Guide, InfoNCE, InvalidInput, LogDistance, PairLoss, Power
from helpers import CASES, F64, differentiated, gradients, held, unit_views, with_shift

every_loss = pytest.mark.parametrize("name", CASES)
any_views = pytest.mark.parametrize("count", [2, 5], ids=["2 views", "5 views"])
KEYS, OWN = 7, 3


def _raw(count: int, n: int = 4, d: int = 3) -> list[Tensor]:
    """Views whose rows have norms of their own."""
    return [(1 + 0.3 * k) * v for k, v in enumerate(unit_views(n=n, d=d, count=count))]


def _check(value: Callable[..., Tensor], inputs: list[Tensor]) -> None:
    """Along random directions through all inputs; input by input would take minutes."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(value, leaves, atol=1e-7, rtol=1e-5, fast_mode=True)


def _same_gradients(one: Callable[..., Tensor], other: Callable[..., Tensor], inputs: list[Tensor]) -> None:
    for a, b in zip(gradients(one, inputs), gradients(other, inputs), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-9)


@every_loss
@pytest.mark.parametrize(("count", "normalize"), [(2, True), (2, False), (5, True)])
def test_the_views(name: str, count: int, normalize: bool) -> None:
    loss, views = CASES[name](normalize=normalize), _raw(count)
    value = differentiated(name, loss, views)
    _check(value, views)
    _same_gradients(loss, value, views)
    assert all(g.abs().max() > 1e-6 for g in gradients(loss, views))


@every_loss
def test_entry_by_entry(name: str) -> None:
    loss, views = CASES[name](), _raw(2, n=3, d=2)
    leaves = [v.clone().requires_grad_() for v in views]
    assert torch.autograd.gradcheck(differentiated(name, loss, views), leaves, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.keys])
@any_views
def test_a_queue_of_another_length(name: str, count: int) -> None:
    loss, views, keys = CASES[name](), _raw(count, n=3), torch.randn(KEYS, 3, dtype=F64)
    value = differentiated(name, loss, views, keys=keys)
    inputs = [*views, keys]
    _check(lambda *x: value(*x[:-1], keys=x[-1]), inputs)
    _same_gradients(lambda *x: loss(*x[:-1], keys=x[-1]), lambda *x: value(*x[:-1], keys=x[-1]), inputs)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.negatives])
@any_views
def test_negatives_of_ones_own(name: str, count: int) -> None:
    loss, views, negatives = CASES[name](), _raw(count), torch.randn(4, OWN, 3, dtype=F64)
    value = differentiated(name, loss, views, negatives=negatives)
    inputs = [*views, negatives]
    _check(lambda *x: value(*x[:-1], negatives=x[-1]), inputs)
    _same_gradients(lambda *x: loss(*x[:-1], negatives=x[-1]), lambda *x: value(*x[:-1], negatives=x[-1]), inputs)


LEARNABLE = [(name, option) for name, case in CASES.items() for option in case.learnable]


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize(("name", "option"), LEARNABLE)
@any_views
def test_options_that_may_be_tensors(name: str, option: str, count: int) -> None:
    views = unit_views(n=4, d=3, count=count)
    tensor = torch.tensor(0.4, dtype=F64)
    shifted = getattr(with_shift(CASES[name](**{option: 0.4}), views), "shift", None)
    fixed = {} if shifted is None else {"shift": shifted}
    _check(lambda t: CASES[name](**{option: t}, **fixed)(*views), [tensor])
    assert gradients(lambda t: CASES[name](**{option: t}, **fixed)(*views), [tensor])[0].abs() > 1e-4


@pytest.mark.parametrize(("name", "option"), LEARNABLE)
def test_a_learned_option_is_a_parameter_of_the_loss(name: str, option: str) -> None:
    loss = CASES[name](**{option: torch.nn.Parameter(torch.tensor(0.3))})
    loss(*unit_views()).backward()
    (parameter,) = loss.parameters()
    assert parameter.grad is not None
    assert parameter.grad.isfinite()


@pytest.mark.parametrize(
    "name", [n for n, case in CASES.items() if case.takes("temperature") and "temperature" not in case.learnable]
)
def test_the_temperature_of_constant_weights_cannot_be_learnt(name: str) -> None:
    with pytest.raises(InvalidInput, match="temperature cannot be learnt"):
        CASES[name](temperature=torch.nn.Parameter(torch.tensor(0.4)))


@every_loss
def test_raw_rows_have_gradients_along_themselves_and_unit_rows_do_not(name: str) -> None:
    views = unit_views(n=5)
    along = [
        (gradients(CASES[name](normalize=normalize), views)[0] * views[0]).sum(1).abs().max()
        for normalize in (True, False)
    ]
    assert along[0] < 1e-12
    assert along[1] > 1e-3


# Options


LABELS = torch.tensor([0, 0, 1, 2])
DOMAINS = torch.tensor([0, 1, 0, 1])


def _teacher(count: int) -> Tensor:
    """A soft target over all other samples, with marginals of its own."""
    return torch.rand(4 * count, 4 * count, dtype=F64).fill_diagonal_(0)


VARIANTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    # what: (name, options, sides)
    "SupCon, log inside": ("SupCon", {"log_inside": True}, {"labels": LABELS}),
    "SupCon, log outside": ("SupCon", {}, {"labels": LABELS}),
    "HCL, constant weights": ("HCL", {"detach_weights": True}, {}),
    "HCL, floor": ("HCL", {"tau_plus": 0.3, "temperature": 0.2}, {}),
    "HCLOT, differentiable": ("HCLOT", {"detach_weights": False, "sweeps": 4}, {}),
    "HCLOT, exp cost": ("HCLOT", {"detach_weights": False, "cost": "exp", "sweeps": 3}, {}),
    "HCLOT, quadratic": ("HCLOT", {"detach_weights": False, "rule": "quadratic", "sweeps": 3, "reg": 3.0}, {}),
    "RelaxedHCLOT, differentiable": ("RelaxedHCLOT", {"detach_weights": False, "sweeps": 4}, {}),
    "AlphaCL, quadratic": ("AlphaCL", {"rule": "quadratic"}, {}),
    "AlphaCL, power": ("AlphaCL", {"rule": "power"}, {}),
    "AlphaCL, inverse": ("AlphaCL", {"temperature": 1.0, "cost": LogDistance(0.5, 2.0)}, {}),
    **{
        f"{name}, gradient through the weights": (name, {"detach_weights": False}, {})
        for name in ("AlphaCL", "AlphaCLDirect", "BalancedAlphaCL")
    },
    "BalancedAlphaCL, p": ("BalancedAlphaCL", {"p": 3.0}, {}),
    "RINCE, shifted": ("RINCE", {"shift": 0.7}, {}),
    "RINCE, cold": ("RINCE", {"temperature": 0.05}, {}),
    "RINCE, linear": ("RINCE", {"q": 1.0}, {}),
    "GCARINCE, cold": ("GCARINCE", {"temperature": 0.05}, {}),
    "GCAUOT, both terms": ("GCAUOT", {"r1": 0.3, "r2": 1.0}, {}),
    "IOT, uniform": ("IOT", {"uniformity": 0.7}, {}),
    "SparseGCA, entropic": ("SparseGCA", {"rule": "entropic"}, {}),
    "SparseGCA, q = 1.5": ("SparseGCA", {"rule": Power(1.5)}, {}),
    "CACR, constant weights": ("CACR", {"detach_weights": True}, {}),
    "CACR, rbf": ("CACR", {"cost": "rbf"}, {}),
    "CACR, rbf, pooled": ("CACR", {"cost": "rbf", "pooled": True, "tau_plus": 0.05}, {}),
    "CACR, ordered": ("CACR", {"ordered": True}, {}),
    "CACR, debiased": ("CACR", {"tau_plus": 0.2}, {}),
    "CACR, rbf, debiased": ("CACR", {"cost": "rbf", "tau_plus": 0.05}, {}),
    "SinkhornCACR, constant weights": ("SinkhornCACR", {"detach_weights": True}, {}),
    "alignment to the first power": ("AlignmentUniformity", {"power": 1.0}, {}),
    **{
        f"{name}, target {what}": (name, {"target": target}, sides)
        for name in ("GCAINCE", "GCARINCE", "GCAUOT", "IOT", "SparseGCA")
        for what, target, sides in (
            ("labels", "labels", {"labels": LABELS}),
            ("domains", Domains(within=0.5, across=0.2), {"domains": DOMAINS}),
            ("given", "positives", {"target": _teacher}),
        )
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("count", [2, 3])
def test_options(variant: str, count: int) -> None:
    name, options, sides = VARIANTS[variant]
    sides = {key: side(count) if callable(side) else side for key, side in sides.items()}
    loss, views = CASES[name](**options), _raw(count)
    constant = options.get("detach_weights", CASES[name].constant)
    moving = with_shift(loss, views, **sides)
    value = held(loss, views, **sides) if constant else lambda *v: moving(*v, **sides)
    _check(value, views)
    _same_gradients(lambda *v: loss(*v, **sides), value, views)


@pytest.mark.parametrize("count", [2, 3])
def test_functions_of_ones_own(count: int) -> None:
    _check(PairLoss(torch.log1p, lambda x: torch.exp(2 * x)), _raw(count))


def test_masks_and_guides() -> None:
    views, guide = _raw(2, n=6), Guide(*unit_views(d=3, seed=3, noise=0.5))
    assert 12 < guide.forbidden().sum() < 100
    for mask in (torch.rand(12, 12) > 0.8, guide):
        _check(lambda a, b, mask=mask: InfoNCE()(a, b, mask=mask), views)
        _check(lambda a, b, mask=mask: CLIP()(a, b, mask=mask), views)


TEMPERED = [name for name, case in CASES.items() if case.loss.tempered]


@pytest.mark.parametrize("name", TEMPERED)
def test_a_learnable_scale(name: str) -> None:
    """d loss / d log(1 / tau) = -tau d loss / d tau, and the bias beside it."""
    views, options = unit_views(n=4, d=3), ({"bias": -1.0} if name == "SigLIP" else {})
    loss = CASES[name](temperature=0.4, learnable=True, **options).double()
    loss(*views).backward()
    temperature = torch.tensor(0.4, dtype=F64)
    (by_temperature,) = gradients(lambda t: CASES[name](temperature=t, **options)(*views), [temperature])
    parameters = dict(loss.named_parameters())
    assert set(parameters) == {"log_scale", *options}
    torch.testing.assert_close(parameters["log_scale"].grad, -0.4 * by_temperature, rtol=1e-6, atol=1e-8)
    if options:
        bias = torch.tensor(-1.0, dtype=F64)
        (by_bias,) = gradients(lambda b: CASES[name](temperature=0.4, bias=b)(*views), [bias])
        torch.testing.assert_close(parameters["bias"].grad, by_bias, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", TEMPERED)
def test_a_learnt_temperature_stays_above_a_hundredth(name: str) -> None:
    loss, views = CASES[name](temperature=0.02, learnable=True), unit_views()
    with torch.no_grad():
        loss.log_scale.fill_(50.0)  # type: ignore[operator]
    torch.testing.assert_close(loss(*views), CASES[name](temperature=0.01)(*views), rtol=1e-5, atol=1e-5)
    assert loss.temperature.item() == pytest.approx(0.01)


def test_a_learnt_temperature_is_seen_and_kept() -> None:
    loss = InfoNCE(0.3, learnable=True)
    assert repr(loss) == "InfoNCE(temperature=0.3, learnable=True)"
    other = InfoNCE(0.1, learnable=True)
    other.load_state_dict(loss.state_dict())
    assert list(loss.state_dict()) == ["log_scale"]
    assert other.temperature == loss.temperature
    assert loss.apart().temperature == loss.temperature
    with pytest.raises(TypeError, match="MINE has no parameter 'learnable'"):
        CASES["MINE"](learnable=True)


def test_a_parameter_that_crosses_zero_is_told_what_helps() -> None:
    loss = InfoNCE(torch.nn.Parameter(torch.tensor(0.2)))
    with torch.no_grad():
        loss.temperature.sub_(0.3)  # type: ignore[union-attr]
    with pytest.raises(InvalidInput, match=r"must be > 0, got -0.1, which is learnt: .*learnable=True"):
        loss(*unit_views())


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.takes("across_views")])
def test_negatives_of_other_views_only(name: str) -> None:
    loss, views = CASES[name](across_views=True), _raw(3)
    value = differentiated(name, loss, views)
    _check(value, views)
    _same_gradients(loss, value, views)
    assert (loss(*views) - CASES[name]()(*views)).abs() > 1e-6


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.takes("detach_weights")])
def test_detached_weights_change_the_gradient_and_not_the_value(name: str) -> None:
    views = unit_views(count=3)
    free, detached = CASES[name](detach_weights=False), CASES[name](detach_weights=True)
    torch.testing.assert_close(free(*views), detached(*views))
    assert (gradients(free, views)[0] - gradients(detached, views)[0]).abs().max() > 1e-4
    _same_gradients(detached, held(free, views), views)
