# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether two Blender versions rendered the same picture: prints the PSNR, fails below 60 dB.

python tests/blender/same_picture.py A.npy B.npy
"""

import sys

import numpy as np

first, second = (np.load(path).astype(np.float64) for path in sys.argv[1:3])
assert first.shape == second.shape, (first.shape, second.shape)
assert first[..., 3].max() > 0.9, "the picture is empty"
error = np.mean((first - second) ** 2)
psnr = np.inf if error == 0 else -10 * np.log10(error)
print(f"{first.shape[1]} x {first.shape[0]}: PSNR {psnr:.1f} dB, largest difference {np.abs(first - second).max():.2e}")
sys.exit(bool(psnr < 60))
