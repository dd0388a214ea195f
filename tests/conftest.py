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


@pytest.fixture(scope="session")
def bigcolor_weights(tmp_path_factory):
    """Nobody trained them; `classes`: the 1000, in a narrow network, else none."""
    from coloria.models import bigcolor, registry
    from coloria.weightfile import Card, write_state

    def make(classes):
        config = {"width": 4} if classes else registry.get("bigcolor").tiny
        net = bigcolor.build("bigcolor", config)
        path = tmp_path_factory.mktemp("weights") / f"{'known' if classes else 'free'}.safetensors"
        write_state(path, bigcolor.tensors(net), Card("bigcolor", config, default_size=32))
        return path

    return {classes: make(classes) for classes in (True, False)}
