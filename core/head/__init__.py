# SPDX-License-Identifier: GPL-3.0-or-later
"""The FLAME-parametrised head and the motion that moves it."""
