"""The losses written out again, and the networks they and the encoders stand on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from skimage import color as oracle

from coloria.errors import UnknownNameError, WeightsMismatchError, WeightsMissingError
from coloria.models.deoldify import IMAGENET, LITE0, Coding
from coloria.models.encoders import EfficientNetLite0, ResNet
from coloria.models.unet import UNet, UNetConfig
from coloria.train import features
from coloria.train.losses import (
    FEATURE_WEIGHTS,
    LossWeights,
    PictureLoss,
    chroma_loss,
    feature_loss,
)
from coloria.train.pretrained import load_encoder
from coloria.train.schedule import NetworkConfig


def lab_of(rgb: torch.Tensor) -> np.ndarray:
    """(B, H, W, 3) Lab of (B, 3, H, W)."""
    return oracle.rgb2lab(rgb.permute(0, 2, 3, 1).double().numpy())


def test_chroma_loss_is_huber_on_a_and_b() -> None:
    """On flat 2 x 2 blocks, whose mean is themselves."""
    small = torch.rand(2, 2, 3, 5, 4)
    pred, target = small.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
    apart = np.abs(lab_of(pred) - lab_of(target))[..., 1:] / 100
    beta = 0.1
    want = np.where(apart < beta, apart**2 / (2 * beta), apart - beta / 2).mean()
    assert float(chroma_loss(pred, target, 10.0)) == pytest.approx(want, rel=1e-3)


def test_emphasis_weighs_colourful_pixels_more() -> None:
    target = torch.full((1, 3, 4, 4), 0.5)
    target[:, 0, :, 2:] = 0.9  # the right half is red
    wrong_left, wrong_right = target.clone(), target.clone()
    wrong_left[:, 2, :, :2] += 0.2
    wrong_right[..., 2:] = 0.5
    plain = [float(chroma_loss(p, target, 10.0)) for p in (wrong_left, wrong_right)]
    heavy = [float(chroma_loss(p, target, 10.0, 5.0)) for p in (wrong_left, wrong_right)]
    assert heavy[1] / heavy[0] > 1.5 * plain[1] / plain[0]


def test_loss_has_gradients_outside_the_gamut_too() -> None:
    """Chroma is clipped there; the pixel loss pulls back."""
    pred = torch.full((1, 3, 4, 4), 9.0, requires_grad=True)
    loss = PictureLoss(IMAGENET, LossWeights(pixel=1, feature=0, lab=1))
    loss(pred, torch.zeros(1, 3, 4, 4)).backward()
    assert pred.grad is not None
    assert torch.isfinite(pred.grad).all()
    assert (pred.grad > 0).all()


def test_parts_are_named_and_sum_up() -> None:
    loss = PictureLoss(IMAGENET, LossWeights(pixel=2, feature=0.5, lab=3), lambda x: [x, x, x])
    total = loss(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8))
    assert loss.parts.keys() == {"pixel", "feature", "lab"}
    assert float(total) == pytest.approx(sum(float(v) for v in loss.parts.values()))


def test_feature_loss_is_the_published_sum() -> None:
    maps = [torch.rand(1, 4, 6, 6), torch.rand(1, 8, 3, 3), torch.rand(1, 2, 2, 2)]
    shifted = [m + d for m, d in zip(maps, (0.1, 0.2, 0.3), strict=True)]
    answers = iter([maps, shifted])
    got = feature_loss(lambda _: next(answers), torch.zeros(1), torch.zeros(1))
    want = sum(w * d for w, d in zip(FEATURE_WEIGHTS, (0.1, 0.2, 0.3), strict=True))
    assert float(got) == pytest.approx(want, rel=1e-5)


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the layout of torchvision's vgg16_bn."""
    path = tmp_path_factory.mktemp("vgg") / "vgg16_bn.pth"
    torch.save(torchvision.models.vgg16_bn(weights=None).state_dict(), path)
    return path


@pytest.mark.slow
def test_vgg_features_are_the_relus_before_the_pools(vgg: Path) -> None:
    net = features.build(str(vgg), LITE0)
    whole = torchvision.models.vgg16_bn(weights=None).eval()
    whole.load_state_dict(torch.load(vgg, weights_only=True))
    picture = torch.rand(1, 3, 64, 64)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET.mean, IMAGENET.std))
    taps = []
    for layer in whole.features:
        if isinstance(layer, torch.nn.ReLU):
            layer.inplace = False
    with torch.inference_mode():
        x = (picture - mean) / std
        for layer in whole.features:
            if isinstance(layer, torch.nn.MaxPool2d):
                taps.append(x)
            x = layer(x)
        own = (picture - torch.tensor(LITE0.mean).view(3, 1, 1)) / torch.tensor(LITE0.std).view(
            3, 1, 1
        )
        for got, want in zip(net(own), taps[2:5], strict=True):
            torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)
    assert not net.train().training  # it must not move
    assert not any(p.requires_grad for p in net.parameters())


def test_lite0_features_come_from_the_package() -> None:
    net = features.build("efficientnet-lite0", LITE0)
    assert [m.shape[1] for m in net(torch.zeros(1, 3, 64, 64))] == [24, 40, 112]


def test_unknown_feature_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'vgg16_bn'"):
        features.build("vgg16bn", LITE0)
    with pytest.raises(WeightsMissingError, match="is no file"):
        features.build(str(tmp_path / "vgg.pth"), LITE0)


def test_torchvision_weights_that_were_not_fetched_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is downloaded behind the user's back."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(WeightsMissingError, match=r"vgg16_bn-6c64b313\.pth"):
        features.build("vgg16_bn", Coding())


def network(**changes: object) -> NetworkConfig:
    plain = {"encoder": "resnet34", "decoder": "deep", "factor": 0.1, "middle": 0.1}
    return NetworkConfig(**{**plain, **changes})


def test_a_resnet_in_torchvisions_layout_fills_the_encoder(tmp_path: Path) -> None:
    net = torchvision.models.resnet34(weights=None).eval()
    torch.save(net.state_dict(), tmp_path / "resnet34.pth")
    encoder = ResNet("resnet34", (64, 64, 128, 256, 512)).eval()
    load_encoder(encoder, network(pretrained=str(tmp_path / "resnet34.pth")))
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        want = net.layer4(
            net.layer3(net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(x)))))))
        )
        torch.testing.assert_close(encoder(x)[-1], want)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    config = network(pretrained=str(tmp_path / "a.pth"))
    with pytest.raises(WeightsMismatchError, match="lacks 'bn1"):
        load_encoder(ResNet("resnet34", (64, 64, 128, 256, 512)), config)


def test_imagenet_lite0_knows_a_cat() -> None:
    """The package's weights in our encoder see what they were trained for: with the package's own
    head on top, scikit-image's cat is one of ImageNet's cats (281 to 285)."""
    from skimage import data
    from skimage.transform import resize

    from coloria.train.pretrained import lite0_path
    from coloria.weightfile import read_state

    state = read_state(lite0_path())[0]
    encoder = EfficientNetLite0().eval()
    encoder.load_imagenet(state)
    cat = resize(data.chelsea()[:, 75:375], (224, 224), anti_aliasing=True)
    x = torch.from_numpy(cat).permute(2, 0, 1)[None].float()
    x = (x - torch.tensor(LITE0.mean).view(3, 1, 1)) / torch.tensor(LITE0.std).view(3, 1, 1)
    with torch.inference_mode():
        y = torch.nn.functional.conv2d(encoder(x)[-1], state["_conv_head.weight"])
        y = torch.nn.functional.batch_norm(
            y, state["_bn1.running_mean"], state["_bn1.running_var"], state["_bn1.weight"],
            state["_bn1.bias"], eps=1e-3,
        )  # fmt: skip
        logits = y.clamp(0, 6).mean(dim=(2, 3)) @ state["_fc.weight"].T + state["_fc.bias"]
    assert int(logits.argmax()) in range(281, 286)


def test_layer_groups_hold_every_parameter_once() -> None:
    for name in ("resnet34", "efficientnet_lite0"):
        net = UNet(UNetConfig(name, "deep", 0.25, 0.1))
        groups = [[p for m in group for p in m.parameters()] for group in net.layer_groups()]
        ids = [id(p) for group in groups for p in group]
        assert sorted(ids) == sorted(id(p) for p in net.parameters())
        assert all(groups)
