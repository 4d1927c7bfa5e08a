# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark of the voice: sets of clips, metrics, our rows and other engines' (docs/voice.md)."""
