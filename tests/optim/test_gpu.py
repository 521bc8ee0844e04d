"""What `test_anyones_loop.py` has on the CPU, on a GPU: its generator, float16, two devices."""

import io

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from perturb.optim import build

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def net(*middle):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 64), nn.Tanh(), *middle, nn.Linear(64, 3))


def data(device="cuda"):
    draws = torch.Generator().manual_seed(3)
    return torch.randn(12, 6, generator=draws).to(device), (torch.arange(12) % 3).to(device)


def closure_of(optimizer, model, scaler=None):
    inputs, labels = data()

    def closure():
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.float16, enabled=scaler is not None):
            loss = F.cross_entropy(model(inputs), labels)
        (loss if scaler is None else scaler.scale(loss)).backward()
        return loss

    return closure


def weights_of(model):
    return torch.cat([p.detach().reshape(-1).cpu() for p in model.parameters()])


@pytest.mark.parametrize("given", [True, False])
def test_the_second_pass_draws_from_the_gpus_generator_what_the_first_one_drew(given):
    found = []
    for name in ("sgd_10", "sam_1e-12_10"):
        model = net(nn.Dropout(), nn.BatchNorm1d(64)).cuda()
        optimizer = build(name, model.parameters(), model=model if given else None)
        torch.manual_seed(5)
        for _ in range(4):
            optimizer.step(closure_of(optimizer, model))
        found.append((weights_of(model), torch.rand(3, device="cuda"), model[3].running_mean))
    (plain, drawn, mean), (perturbed, also_drawn, also_mean) = found
    assert torch.allclose(plain, perturbed, rtol=0, atol=1e-5)
    assert torch.equal(drawn, also_drawn) and torch.allclose(mean, also_mean, rtol=0, atol=1e-5)


def test_float16_with_a_scaler_trains_and_skips_what_overflows():
    model = net().cuda()
    optimizer = build("sam_0.05_10", model.parameters())
    scaler = torch.amp.GradScaler("cuda", init_scale=2.0**60)
    closure, before = closure_of(optimizer, model, scaler), weights_of(model)
    first = optimizer.step(closure, grad_scaler=scaler)
    scaler.update()
    assert torch.equal(weights_of(model), before) and scaler.get_scale() == 2.0**59
    for _ in range(80):
        last = optimizer.step(closure, grad_scaler=scaler)
        scaler.update()
    assert last < first and scaler.get_scale() < 2.0**40
    assert weights_of(model).isfinite().all()


def test_a_net_on_two_devices_is_the_net_on_one():
    found = []
    for split in (True, False):
        model = net().double()
        (model[2] if split else model).cuda()
        optimizer = build("pugd_10", model.parameters())
        inputs, labels = (t.to("cpu" if split else "cuda") for t in data())

        def closure(model=model, optimizer=optimizer, inputs=inputs, labels=labels):
            optimizer.zero_grad()
            hidden = model[1](model[0](inputs.double())).cuda()
            loss = F.cross_entropy(model[2](hidden), labels.cuda())
            loss.backward()
            return loss

        for _ in range(3):
            optimizer.step(closure)
        found.append(weights_of(model))
    assert torch.allclose(*found, rtol=0, atol=1e-12)


def test_one_layer_saved_alone_is_as_large_as_itself():
    model = net().cuda()
    optimizer = build("pugd_10", model.parameters(), base="adamw", lr=1e-3, momentum=0.0)

    def size():
        file = io.BytesIO()
        torch.save(model[2].state_dict(), file)
        return file.getbuffer().nbytes

    before = size()
    optimizer.step(closure_of(optimizer, model))
    assert size() == before
    assert model[0].weight.data_ptr() == optimizer.flat.weights.data_ptr()
