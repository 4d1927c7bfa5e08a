# SPDX-License-Identifier: GPL-3.0-or-later
"""Data factory of synthetic people: pictures of invented heads with known shape, pose and camera (README.md)."""
