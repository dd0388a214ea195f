"""What every test gets: an empty cache, no network beyond loopback, equal random numbers."""

import random
import sys

import pytest


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory):
    """No test sees or changes the user's cache, and none downloads unless it says so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLORIA_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("COLORIA_OFFLINE", "1")
        patch.delenv("COLORIA_DEBUG", raising=False)
        yield


@pytest.fixture(autouse=True)
def seeded():
    random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    """A weight file of `artistic` that nobody trained: a small shape of the same network."""
    import torch

    from coloria.models import registry
    from coloria.models.deoldify import IMAGENET, DeOldify
    from coloria.models.fold import fold_weight_norms
    from coloria.models.unet import UNetConfig
    from coloria.weightfile import Card, write_state

    torch.manual_seed(0)
    net = DeOldify(UNetConfig(**registry.get("artistic").tiny)).eval()
    card = Card(
        model="artistic",
        config=net.card_config(),
        preprocessing={"mean": list(IMAGENET.mean), "std": list(IMAGENET.std)},
        default_size=32,
    )
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    write_state(path, fold_weight_norms(net).state_dict(), card)
    return path
