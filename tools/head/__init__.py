# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of `build_head.py`: MakeHuman's data in, the arrays of `core/data/head.npz` out.

Everything is in MakeHuman's own frame and decimetres until `build_head.py` writes the file. Needs numpy, scipy, pillow.
"""
