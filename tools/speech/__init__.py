# SPDX-License-Identifier: GPL-3.0-or-later
"""Data factory and training of the speech model. Nothing the extension runs imports this package."""
