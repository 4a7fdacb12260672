#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""embed.py NAME FILE: a text file as a C array, on standard output."""
import sys

name, path = sys.argv[1:]
data = open(path, "rb").read()
print("/* made from %s by embed.py */\n#include <stddef.h>\n" % path.rsplit("/", 1)[-1])
print("static const char %s[] = {%s, 0};" % (name, ", ".join(map(str, data))))
print("static const size_t %s_len = %d;" % (name, len(data)))
