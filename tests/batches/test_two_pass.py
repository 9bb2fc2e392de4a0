"""Two passes give the gradients of one, for every loss, and keep the activations of one micro-batch."""

from __future__ import annotations

import copy
import re
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.checkpoint import checkpoint

from couplings import CLIP, CouplingWarning, InfoNCE, InvalidInput, SupCon, TwoPass
from helpers import CASES, F64

N, D = 11, 6


def _mlp(*between: nn.Module, inputs: int = D, dtype: torch.dtype = F64) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 16), nn.GELU(), *between, nn.Linear(16, 5)).to(dtype)


def _gradients(value: Tensor, *modules: nn.Module) -> list[Tensor]:
    parameters = [parameter for module in modules for parameter in module.parameters()]
    return list(torch.autograd.grad(value, parameters, materialize_grads=True, allow_unused=True))


def _assert_equal(got: list[Tensor], wanted: list[Tensor], tol: float = 1e-10) -> None:
    """Relative to the largest entry: single entries may be zero but for rounding."""
    scale = max(float(grad.abs().max()) for grad in wanted)
    assert scale > 0
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=tol * scale)


def _in_parts(encoder: Callable[..., Tensor], micro_batch: int) -> Callable[..., Tensor]:
    """The same micro-batches with all of their activations: what random encoders are compared with."""
    return lambda x: torch.cat([encoder(part) for part in x.split(micro_batch)])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("micro_batch", [1, 4, N + 1])
def test_gradients_of_every_loss(name: str, micro_batch: int) -> None:
    encoder, loss, views = _mlp(), CASES[name](), torch.randn(2, N, D, dtype=F64)
    encode = TwoPass(encoder, micro_batch)
    one = loss(*map(encoder, views))
    two = loss(*map(encode, views))
    torch.testing.assert_close(two, one, rtol=1e-12, atol=1e-12)
    _assert_equal(_gradients(two, encoder), _gradients(one, encoder))


def test_three_views_and_sides() -> None:
    encoder, loss, views = _mlp(), SupCon(), torch.randn(3, N, D, dtype=F64)
    labels, encode = torch.arange(N) % 3, TwoPass(encoder, 3)
    two, one = loss(*map(encode, views), labels=labels), loss(*map(encoder, views), labels=labels)
    _assert_equal(_gradients(two, encoder), _gradients(one, encoder))


def test_what_the_loss_learns_gets_its_gradient() -> None:
    encoder, loss, (a, b) = _mlp(), CLIP(learnable=True).double(), torch.randn(2, N, D, dtype=F64)
    encode = TwoPass(encoder, 4)
    got, wanted = loss(encode(a), encode(b)), loss(encoder(a), encoder(b))
    *of_encoder, of_loss = _gradients(got, encoder, loss)
    *encoder_wanted, loss_wanted = _gradients(wanted, encoder, loss)
    _assert_equal([of_loss], [loss_wanted])
    _assert_equal(of_encoder, encoder_wanted)


class _Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.last = nn.Embedding(20, 16).double(), nn.Linear(16, 5).double()

    def forward(self, ids: Tensor, mask: Tensor, *, pool: str) -> dict[str, Tensor]:
        assert pool == "mean"
        weights = mask.double() / mask.sum(1, keepdim=True)
        return {"embedding": self.last((self.words(ids) * weights[..., None]).sum(1)), "length": mask.sum(1)}


def test_an_encoder_for_each_modality() -> None:
    images, text, loss = _mlp(), _Text(), CLIP()
    pixels, ids, mask = torch.randn(N, D, dtype=F64), torch.randint(20, (N, 7)), torch.rand(N, 7) < 0.7
    mask[:, 0] = True
    sides = {"mask": mask, "pool": "mean"}
    one = loss(images(pixels), text(ids, **sides)["embedding"])
    tokens = TwoPass(text, 2)(ids, **sides)
    two = loss(TwoPass(images, 5)(pixels), tokens["embedding"])
    assert tokens["length"].equal(mask.sum(1))
    _assert_equal(_gradients(two, images, text), _gradients(one, images, text))


class _Pair(NamedTuple):
    left: Tensor
    right: Tensor


@pytest.mark.parametrize("kind", [tuple, list, _Pair._make, lambda pair: {"left": pair[0], "right": pair[1]}])
def test_containers_are_cut_and_joined(kind: Callable[[list[Tensor]], Any]) -> None:
    batch = kind([torch.arange(5.0), torch.arange(10.0).reshape(5, 2)])
    rows: list[int] = []

    def encoder(given: Any) -> Any:
        rows.append(len(given["left"] if isinstance(given, Mapping) else given[0]))
        return given

    result = TwoPass(encoder, 2)(batch)
    assert rows == [2, 2, 1]
    assert type(result) is type(batch)
    torch.testing.assert_close(result, batch)


def test_dropout_is_the_same_in_both_passes() -> None:
    encoder, x = _mlp(nn.Dropout(0.5)), torch.randn(N, D, dtype=F64)
    found = []
    for encode in (_in_parts(encoder, 4), TwoPass(encoder, 4)):
        torch.manual_seed(1)
        value = InfoNCE()(encode(x), encode(x))
        after = torch.get_rng_state()
        found.append(_gradients(value, encoder))
        assert torch.get_rng_state().equal(after)
    _assert_equal(*found, tol=1e-14)


def test_views_that_the_encoder_draws_are_the_same_in_both_passes() -> None:
    encoder, x, generator = _mlp(), torch.randn(N, D, dtype=F64), torch.Generator()

    def augmented(images: Tensor) -> Tensor:
        return encoder(images + torch.randn(images.shape, generator=generator, dtype=F64))

    found, after = [], []
    for encode in (_in_parts(augmented, 4), TwoPass(augmented, 4, generators=[generator])):
        generator.manual_seed(1)
        value = InfoNCE()(encode(x), encode(x))
        found.append(_gradients(value, encoder))
        after.append(generator.get_state())
    _assert_equal(*found, tol=1e-14)
    assert after[0].equal(after[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_is_the_same_in_both_passes(dtype: torch.dtype) -> None:
    encoder, x, seen = _mlp(dtype=torch.float32), torch.randn(N, D), []
    encoder[0].register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    with torch.autocast("cpu", dtype):
        got = InfoNCE()(*[TwoPass(encoder, 4)(x)] * 2)
        wanted = InfoNCE()(*[_in_parts(encoder, 4)(x)] * 2)
    _assert_equal(_gradients(got, encoder), _gradients(wanted, encoder), tol=1e-6)
    assert seen == [dtype] * 9  # three micro-batches: first pass, reference, second pass


def test_a_gradient_scaler_works_as_ever() -> None:
    encoder, x = _mlp(dtype=torch.float32), torch.randn(N, D)
    optimiser, scaler = torch.optim.SGD(encoder.parameters(), lr=0.0), torch.amp.GradScaler("cpu")
    wanted = _gradients(InfoNCE()(encoder(x), encoder(x + 1)), encoder)
    encode = TwoPass(encoder, 4)
    scaler.scale(InfoNCE()(encode(x), encode(x + 1))).backward()
    scaler.unscale_(optimiser)
    _assert_equal([parameter.grad for parameter in encoder.parameters()], wanted, tol=1e-5)


def test_gradients_accumulate_reach_the_input_and_can_be_taken_twice() -> None:
    encoder, x = _mlp(), torch.randn(N, D, dtype=F64, requires_grad=True)
    z = TwoPass(encoder, 4)(x)
    wanted = torch.autograd.grad(encoder(x).square().sum(), [x, *encoder.parameters()])
    for times in (1, 2):
        z.square().sum().backward(retain_graph=True)
        _assert_equal([x.grad, *(p.grad for p in encoder.parameters())], [times * grad for grad in wanted])


def test_an_encoder_with_checkpoints_of_its_own() -> None:
    encoder, x = _mlp(), torch.randn(N, D, dtype=F64)
    nested = TwoPass(lambda part: checkpoint(encoder, part, use_reentrant=False), 4)
    _assert_equal(_gradients(nested(x).square().sum(), encoder), _gradients(encoder(x).square().sum(), encoder))


def test_without_gradients_there_is_one_pass() -> None:
    encoder, x, calls = _mlp(), torch.randn(N, D, dtype=F64), []
    encoder.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        z = TwoPass(encoder, 4)(x)
    assert not z.requires_grad
    assert len(calls) == 3
    torch.testing.assert_close(z, encoder(x))


class _Live(TorchDispatchMode):
    """Counts the bytes of tensors made within it that are still alive."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._note((args, kwargs), counted=False)
        out = func(*args, **(kwargs or {}))
        self._note(out, counted=True)
        return out

    def _note(self, tree: Any, counted: bool) -> None:
        for storage in (leaf.untyped_storage() for leaf in tree_iter(tree) if isinstance(leaf, Tensor)):
            if storage._cdata not in self.sizes:
                self.sizes[storage._cdata] = storage.nbytes() if counted else 0
                self.now += self.sizes[storage._cdata]
                weakref.finalize(storage, self._forget, storage._cdata)
        self.peak = max(self.peak, self.now)

    def _forget(self, key: int) -> None:
        self.now -= self.sizes.pop(key)


def _bytes(encode: Callable[[Tensor], Tensor], x: Tensor) -> tuple[int, int]:
    """What two forwards keep, and the peak of the step."""
    with _Live() as memory:
        value = encode(x).sum() + encode(x).square().sum()
        kept = memory.now
        value.backward()
    return kept, memory.peak


def test_only_one_micro_batch_of_activations_is_ever_kept() -> None:
    n, width = 1024, 16
    layers = [layer for _ in range(4) for layer in (nn.Linear(width, width), nn.Tanh())]
    encoder, x = nn.Sequential(*layers, nn.Linear(width, 1)), torch.randn(n, width)
    activations = 4 * n * width * 4
    kept, peak = _bytes(encoder, x)
    assert 2 * activations < kept <= peak
    kept, peak = _bytes(TwoPass(encoder, n // 8), x)
    assert kept < 0.1 * activations
    assert peak < 0.3 * activations  # of both views together: an eighth of one, its gradient, and the embeddings


BATCH_NORM = "holds batch norm .*those of 3 samples instead of 11.*group or layer norm.*SyncBatchNorm does not help"


def _normed(encoder: nn.Module, as_function: bool) -> Callable[[Tensor], Tensor]:
    return (lambda x: encoder(x)) if as_function else encoder


@pytest.mark.parametrize("as_function", [False, True])
def test_batch_norm_warns_once_and_counts_a_batch_once(as_function: bool) -> None:
    encoder, x = _mlp(nn.BatchNorm1d(16)), torch.randn(N, D, dtype=F64)
    once = copy.deepcopy(encoder)
    _in_parts(once, 3)(x)
    encode = TwoPass(_normed(encoder, as_function), 3)
    with pytest.warns(CouplingWarning, match=BATCH_NORM) as said:
        z = encode(x)
    assert said[0].filename == __file__
    z.square().sum().backward()
    for name, value in once.state_dict().items():
        assert encoder.state_dict()[name].equal(value), name
    encode(x)  # a second warning would be an error here


def test_batch_norm_has_the_gradients_of_its_micro_batches() -> None:
    encoder, x = _mlp(nn.BatchNorm1d(16)), torch.randn(N, D, dtype=F64)
    with pytest.warns(CouplingWarning, match=BATCH_NORM):
        z = TwoPass(encoder, 3)(x)
    wanted = _gradients(_in_parts(encoder, 3)(x).square().sum(), encoder)
    _assert_equal(_gradients(z.square().sum(), encoder), wanted)


@pytest.mark.parametrize("as_function", [False, True])
@pytest.mark.parametrize(
    ("norm", "micro_batch"),
    [(nn.BatchNorm1d(16).eval(), 3), (nn.BatchNorm1d(16), N), (nn.LayerNorm(16), 3), (nn.GroupNorm(4, 16), 3)],
)
def test_what_does_not_mix_rows_across_micro_batches_does_not_warn(
    norm: nn.Module, micro_batch: int, as_function: bool
) -> None:
    encoder, x = _mlp(norm), torch.randn(N, D, dtype=F64)
    got = TwoPass(_normed(encoder, as_function), micro_batch)(x).square().sum()
    _assert_equal(_gradients(got, encoder), _gradients(encoder(x).square().sum(), encoder))


def test_batch_norm_without_running_statistics_warns_in_evaluation_too() -> None:
    encoder = _mlp(nn.BatchNorm1d(16, track_running_stats=False)).eval()
    with pytest.warns(CouplingWarning, match=BATCH_NORM):
        TwoPass(encoder, 3)(torch.randn(N, D, dtype=F64))


@pytest.fixture
def _one_process() -> Iterator[None]:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("_one_process")
@pytest.mark.parametrize("options", [{}, {"find_unused_parameters": True}, {"static_graph": True}])
def test_processes_meet_once_a_step(options: dict[str, bool]) -> None:
    encoder, x, meetings = _mlp(), torch.randn(2, N, D, dtype=F64), []
    wanted = _gradients(InfoNCE()(*map(encoder, x)), encoder)
    parallel = DistributedDataParallel(encoder, **options)

    def meet(_, bucket):  # type: ignore[no-untyped-def]  # torch wants the very types, and these are strings
        meetings.append(bucket.index())
        done = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    parallel.register_comm_hook(None, meet)
    for step in (1, 2, 3):
        parallel.zero_grad()
        InfoNCE()(*map(TwoPass(parallel, 4), x)).backward()
        _assert_equal([parameter.grad for parameter in encoder.parameters()], wanted)
        assert meetings == [0] * step


class _Tower(nn.Module):
    """A learnt scale beside the embeddings, as open_clip's models have, or words, as sentence-transformers' do."""

    def __init__(self, kind: type) -> None:
        super().__init__()
        self.kind, self.net, self.scale = kind, _mlp(), nn.Parameter(torch.tensor(1.5, dtype=F64))

    def forward(self, features: dict[str, Any]) -> Any:
        z = self.net(features["x"])
        if self.kind is tuple:
            return z, None, self.scale.exp()
        # Writes into what it is given, and would find it there in the second pass.
        assert "embedding" not in features
        features.update(embedding=z, modality="text", scale=self.scale.exp())
        return features


@pytest.mark.parametrize("kind", [tuple, dict])
def test_what_all_rows_share_stands_beside_the_embeddings(kind: type) -> None:
    tower, x = _Tower(kind), torch.randn(2, N, D, dtype=F64)

    def gradients(encode: Callable[..., Any]) -> list[Tensor]:
        outputs = [encode({"x": view, "modality": "text"}) for view in x]
        pairs = [(out[0], out[-1]) if kind is tuple else (out["embedding"], out["scale"]) for out in outputs]
        value = InfoNCE()(*(z for z, _ in pairs)) * pairs[0][1]
        return list(torch.autograd.grad(value, list(tower.parameters())))

    _assert_equal(gradients(TwoPass(tower, 3)), gradients(tower))


ROWS = torch.zeros(4, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TwoPass("encoder", 2), "encoder must be a module or a function, got str"),  # type: ignore[arg-type]
        (lambda: TwoPass(_mlp(), 0), "micro_batch must be at least one row, got 0"),
        (lambda: TwoPass(_mlp(), -1), "micro_batch must be .*got -1"),
        (lambda: TwoPass(_mlp(), 2.5), r"micro_batch must be .*got 2\.5"),  # type: ignore[arg-type]
        (lambda: TwoPass(_mlp(), 2)(), "no tensor to split"),
        (lambda: TwoPass(_mlp(), 2)(ROWS[:0]), r"the batch is empty: shapes \(0, 2\)"),
        (lambda: TwoPass(_mlp(), 2)(ROWS, mask=ROWS[:3]), r"as many rows, got shapes \(4, 2\), \(3, 2\)"),
        (lambda: TwoPass(_mlp(), 2)(ROWS, torch.tensor(1.0)), "0-dim tensor has no rows"),
        (lambda: TwoPass(torch.mean, 3)(ROWS), r"returned shape \(\) for a micro-batch of 3 rows"),
        (lambda: TwoPass(torch.t, 3)(ROWS), r"returned shape \(2, 3\) for a micro-batch of 3 rows"),
        (lambda: TwoPass(lambda x: (x, x[:1]), 3)(ROWS), r"returned shape \(1, 2\) for a micro-batch of 3 rows"),
        (lambda: TwoPass(lambda x: (x, x.numpy()), 3)(ROWS), "the encoder returned ndarray"),
        (lambda: TwoPass(lambda x: None, 3)(ROWS), "the encoder returned NoneType"),
        (lambda: TwoPass(lambda x: (x, x.sum()), 2)(torch.arange(8.0).view(4, 2)), r"6.0 for one micro-batch and 22.0"),
        (lambda: TwoPass(lambda x: (x, len(x)), 3)(ROWS), "3 for one micro-batch and 1 for another"),
        (lambda: TwoPass(lambda x: (), 3)(ROWS), "the encoder returned an empty tuple"),
    ],
)
def test_what_cannot_be_encoded_says_why(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        call()


def test_the_guide_runs() -> None:
    guide = Path(__file__).parents[2] / "docs" / "two_pass.md"
    blocks = re.findall(r"```python\n(.*?)```", guide.read_text(), flags=re.DOTALL)
    assert len(blocks) >= 3
    scope: dict[str, Any] = {}
    for block in blocks:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            exec(block, scope)
