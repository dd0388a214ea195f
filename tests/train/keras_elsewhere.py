"""What the tests run in processes of their own: ``python keras_elsewhere.py TASK FOLDER``.

``tensorflow``: trains on that backend, goes on after a checkpoint, colours with given weights, and
takes steps on two devices. ``plain``: loads what a training left, with nothing but Keras.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np


def plain(folder: Path) -> dict[str, Any]:
    import keras

    pictures = np.load(folder / "pictures.npy")
    found: dict[str, Any] = {}
    for name in ("zhang.keras", "zhang.h5"):
        model = keras.saving.load_model(folder / name)
        model.evaluate(pictures, pictures, verbose=0)
        found[name] = model.predict(pictures, verbose=0).tolist()
    found["coloria"] = "coloria" in sys.modules
    return found


def tensorflow(folder: Path) -> dict[str, Any]:
    import torch

    from coloria.keras_backend import backend

    assert backend() == "tensorflow"
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu[0], [tf.config.LogicalDeviceConfiguration()] * 2)
    from coloria.models import zhang
    from coloria.train import keras_device, keras_unet
    from coloria.train.start import start
    from coloria.weightfile import read_state

    options: dict[str, Any] = {"config": "smoke/zhang", "data": [folder / "photos"]}
    whole = start("zhang", folder=folder / "tf", changes=["run.keep=100"], **options)
    assert whole is not None
    state, card = read_state(folder / "zhang.safetensors")
    assert card is not None
    net = zhang.load("zhang", state, card.config)
    gray = torch.from_numpy(np.load(folder / "gray.npy"))
    np.save(folder / "tensorflow.npy", net.colorize(gray).numpy())

    half = shutil.copytree(whole, folder / "tf-half")  # killed after step 6
    for path in (half / "checkpoints").iterdir():
        if int(path.name[:9]) > 6:
            path.unlink()
    start(None, resume=half)

    two = keras_device.Place(
        torch.device("cpu"), "float32", keras_device.mirrored(["CPU:0", "CPU:1"])
    )
    keras_unet.place = lambda *_: two  # type: ignore[assignment]
    start("zhang", folder=folder / "tf-two", changes=["stages.1.skip=true"], **options)
    return {"replicas": two.strategy.num_replicas_in_sync}


if __name__ == "__main__":
    task = {"plain": plain, "tensorflow": tensorflow}[sys.argv[1]]
    result = json.dumps(task(Path(sys.argv[2])))
    print(result)
