# SPDX-License-Identifier: GPL-3.0-or-later
"""Heavy work in a child process: the parent's window never freezes, and a crash is an error message.

`protocol` says what travels, `client` is the parent's end, `child` and `jobs` are the child's, `boot` starts it.
"""
