# SPDX-License-Identifier: GPL-3.0-or-later
"""The prior trained on an NVIDIA card: python3 tools/gpu/train_prior.py --out FOLDER [--store STORE] [--wheels FOLDER] [--device cpu].

The same tools/speech/train.py as on a processor, with a recipe that a card makes affordable; then the exported ONNX files are
held against the torch networks on the card. Without a store it makes one of noise, which tells the speed and that all works.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from check import install


def noise_store(folder: Path, minutes: int = 20) -> None:
    """Hearings of nothing in particular, in the shape of the real ones."""
    import numpy as np

    from loquent.core.prior.mouth import OUTPUTS
    from loquent.tools.speech import train_data

    rng, hearings = np.random.default_rng(0), []
    for number in range(minutes):
        sizes = ((3000, 384), (3000, 160), (3000, len(OUTPUTS)), (6000, 3))
        features, mel, curves, states = (rng.random(size).astype(np.float16) for size in sizes)
        about = (int(number % 5 == 0), f"table {number % 3}", "noise", str(number))
        hearings.append(train_data.Hearing(features, mel, curves, states, np.ones(len(OUTPUTS), np.float32), *about))
    train_data.write(folder, hearings)


def parity(nets, folder: Path, device: str) -> float:
    """Largest difference of one evaluation of the Denoiser between this device and its ONNX file."""
    import numpy as np
    import onnxruntime
    import torch

    rng, shape = np.random.default_rng(0), nets.listener.shape
    sizes = {
        "noisy": (1, 200, 17),
        "noise": (1,),
        "tokens": (1, 200, shape.width),
        "style": (1, 64),
        "before": (1, 200, 17),
    }
    given = {name: rng.normal(size=size).astype(np.float32) for name, size in sizes.items()}
    given |= {"known": np.zeros((1, 200, 1), np.float32), "heard": np.ones(1, np.float32)}
    session = onnxruntime.InferenceSession(str(folder / "denoiser.onnx"), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        found = nets.denoiser.to(device)(*(torch.from_numpy(a).to(device) for a in given.values())).cpu().numpy()
    nets.denoiser.cpu()
    return float(np.abs(session.run(None, given)[0] - found).max())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--store", type=Path, help="made by tools/speech/train_store.py and brought along")
    parser.add_argument("--wheels", type=Path, help="wheels of what this Python lacks: onnx, onnxruntime, protobuf, …")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    arguments = parser.parse_args()
    site = Path(tempfile.mkdtemp())
    install(arguments.wheels, site)
    import torch

    from loquent.tools.speech import train_data
    from loquent.tools.speech.train import Recipe, named_styles, train
    from loquent.tools.speech.train_export import export

    if arguments.store is None:
        arguments.store = site / "store"
        noise_store(arguments.store)
    store, cuda = train_data.opened(arguments.store), arguments.device.startswith("cuda")
    recipe = Recipe(steps=arguments.steps, batch=64 if cuda else 4, width=192 if cuda else 64, depth=6 if cuda else 2)
    report: dict = {
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "torch": torch.__version__,
        "hours": store.minutes() / 60,
    }
    for seed in arguments.seeds:
        folder, lines, began = arguments.out / f"seed{seed}", [], time.perf_counter()
        folder.mkdir(parents=True, exist_ok=True)
        mine = replace(recipe, seed=seed)
        nets = train(
            store,
            mine,
            device=arguments.device,
            amp=True,
            report=lambda line, lines=lines: (lines.append(line), print(line)),
        )
        seconds = time.perf_counter() - began
        export(nets, named_styles(nets, store), folder)
        torch.save(nets.state_dict(), folder / "weights.pt")
        losses = [float(line.split(" total ")[1]) for line in lines]
        report[f"seed{seed}"] = {
            "recipe": asdict(mine), "seconds_per_step": seconds / mine.steps, "first_loss": losses[0], "last_loss": losses[-1],
            "onnx_against_device": parity(nets, folder, arguments.device),
        }  # fmt: skip
        (arguments.out / "report.json").write_text(json.dumps(report, indent=1) + "\n", "utf8")
    print(json.dumps(report, indent=1))
    bad = [s for s in arguments.seeds if not report[f"seed{s}"]["onnx_against_device"] < (5e-3 if cuda else 1e-4)]
    return int(
        bool(bad)
        or report[f"seed{arguments.seeds[0]}"]["last_loss"] >= report[f"seed{arguments.seeds[0]}"]["first_loss"]
    )


if __name__ == "__main__":
    sys.exit(main())
