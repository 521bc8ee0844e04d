"""Few vectors of the weights' size: the same bits, and no more of them than the docstring says."""

import gc

import pytest
import torch
from torch import nn

from perturb import optim
from perturb.errors import PerturbError

RULES = [
    *("sgd_4", "ugd_4", "pugd_4", "pugdrs_isin2_0.1_cos2_1_4", "samx1_4", "sam_0.05_4"),
    *("asam_0.5_4", "gsam_0.05_0.01_4", "looksam_0.05k2_4", "aesam_0.05_4", "pugdt_2_4"),
]


def net(layout=torch.contiguous_format):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5)
    return nn.Sequential(*layers).to(memory_format=layout)


def trained(name, steps=4, layout=torch.contiguous_format, to_none=True, **options):
    network = net(layout)
    optimizer = optim.build(name, network.parameters(), 0.1, **options)
    generator = torch.Generator().manual_seed(1)
    for epoch in range(steps):
        optimizer.set_epoch(epoch)
        images = torch.randn(6, 3, 8, 8, generator=generator)
        labels = torch.randint(5, (6,), generator=generator)

        def closure(images=images, labels=labels):
            network.zero_grad(set_to_none=to_none)
            loss = nn.functional.cross_entropy(network(images), labels)
            loss.backward()
            return loss

        optimizer.step(closure)
        optimizer.end_epoch(train_loss=1, validation_loss=1, validation_accuracy=0)
    return network, optimizer, closure


@pytest.mark.parametrize("to_none", [True, False])
@pytest.mark.parametrize("base", ["sgd", "adamw"])
@pytest.mark.parametrize("name", RULES)
def test_lean_vectors_give_the_same_bits(name, base, to_none):
    for layout in (torch.contiguous_format, torch.channels_last):
        plain, _, _ = trained(name, layout=layout, base=base)
        lean, optimizer, _ = trained(name, layout=layout, base=base, lean=True, to_none=to_none)
        assert optimizer.flat.gradients is not None
        for one, other in zip(plain.state_dict().values(), lean.state_dict().values(), strict=True):
            assert one.equal(other)


@pytest.mark.parametrize(
    ("name", "copies"), [("sgd_4", 1), ("ugd_4", 1), ("pugd_4", 3), ("sam_0.05_4", 3)]
)
def test_the_number_of_vectors_beside_weights_and_gradients(name, copies):
    """Counted by the storages that the optimiser holds, gradients and weights left out."""
    network, optimizer, _ = trained(name, lean=True)
    flat, size = optimizer.flat, sum(p.numel() for p in network.parameters()) * 4
    vectors = [
        flat.weights,
        *flat.vectors.values(),
        flat.spare,
        flat.first,
        flat.second,
        flat.scratch,
    ]
    held = {vector.data_ptr() for vector in vectors if vector.numel() * 4 == size}
    own = {flat.weights.data_ptr(), flat.second.data_ptr()}
    assert len(held - own) == copies
    for parameter, view in zip(network.parameters(), flat.shaped(flat.second), strict=True):
        assert parameter.grad.data_ptr() == view.data_ptr()


@pytest.mark.parametrize("to_none", [True, False])
def test_a_pass_leaves_its_gradients_in_the_vector_that_the_step_reads(to_none):
    """Those at w in `first`, those at w + e in `second`: a step copies neither."""
    weight = nn.Parameter(torch.ones(3))
    optimizer = optim.build("sam_0.05_9", [weight], 0.1, lean=True)
    places = []

    def closure():
        optimizer.zero_grad(set_to_none=to_none)
        (weight**2).sum().backward()
        places.append(weight.grad.data_ptr())

    for _ in range(3):
        optimizer.step(closure)
    flat = optimizer.flat
    assert places[2:] == 2 * [flat.first.data_ptr(), flat.second.data_ptr()]


def test_a_tensor_that_has_no_gradient_for_a_step_and_then_one_again():
    def run(lean):
        torch.manual_seed(0)
        first, second = (nn.Parameter(torch.randn(4)) for _ in range(2))
        optimizer = optim.build("pugd_9", [first, second], 0.1, lean=lean)
        for step in range(6):

            def closure(step=step):
                first.grad = second.grad = None
                loss = (first**2).sum() + ((second**4).sum() if step % 3 else 0)
                loss.backward()
                return loss

            optimizer.step(closure)
        return torch.cat([first, second]).detach()

    assert run(True).equal(run(False))


def test_the_hooks_of_old_vectors_are_gone():
    _, optimizer, closure = trained("pugd_4", lean=True)
    hooks = [
        len(p._post_accumulate_grad_hooks) for g in optimizer.param_groups for p in g["params"]
    ]
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.step(closure)
    gc.collect()
    assert hooks == [
        len(p._post_accumulate_grad_hooks) for g in optimizer.param_groups for p in g["params"]
    ]
    assert set(hooks) == {1}


def test_formats_that_lean_vectors_cannot_hold():
    tensors = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3, dtype=torch.bfloat16))]
    optimizer = optim.build("sgd_2", tensors, 0.1, lean=True)

    def closure():
        loss = sum((tensor**2).sum() for tensor in tensors)
        loss.backward()
        return loss

    with pytest.raises(PerturbError, match="lean is true, but the parameters are of several"):
        optimizer.step(closure)
