# SPDX-License-Identifier: GPL-3.0-or-later
"""The Expression-Visual prior: from one picture of a head to the Gaussians of its UV map."""
