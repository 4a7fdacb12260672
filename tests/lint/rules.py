# SPDX-License-Identifier: BSD-3-Clause
"""The style's rules that a machine can check. A rule gets a path and its text, and yields complaints.

Each rule carries an example that breaks it; a test shows that the rule sees it.
"""

import re

FUNCTION_CEILING = 120
FILE_LOOK_TWICE = 600
FILE_CEILING = 1000

RULES = []


def rule(pattern, bad):
    """`pattern` chooses the files, `bad` is a (path, text) that the rule must complain about."""

    def add(check):
        RULES.append((re.compile(pattern), check, bad))
        return check

    return add


def lines_matching(regex, text, words):
    for number, line in enumerate(text.splitlines(), 1):
        if re.search(regex, line):
            yield f"{number}: {words}: {line.strip()}"


SOURCE = r"\.[ch]$"
SCRIPT = r"(\.(py|sh|[ch])|^dev|^\.ci/run|^perf/run)$"


@rule(SCRIPT, ("a.c", "#include <stdio.h>\n"))
def spdx_first(path, text):
    head = text.splitlines()[:2]
    at = 1 if head and head[0].startswith("#!") else 0
    if "SPDX-License-Identifier: BSD-3-Clause" not in "".join(head[at : at + 1]):
        yield "1: the first line names the license (SPDX-License-Identifier: BSD-3-Clause)"


@rule(r"\.h$", ("a.h", "/* SPDX */\n#ifndef A_H\n"))
def pragma_once(path, text):
    if not re.search(r"^#pragma once$", text, re.M):
        yield "1: a header says #pragma once"


@rule(SOURCE, ("a.c", "\t/* TO" "DO: later */\n"))
def nothing_left_open(path, text):
    yield from lines_matching(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b|^#if 0", text, "left open")


@rule(SOURCE, ("a.c", "typedef struct {\n"))
def typedef_for_functions_only(path, text):
    yield from lines_matching(r"^\s*typedef (struct|enum|union)\b", text, "struct x, no typedef")
    yield from lines_matching(r"^\s*(struct|enum|union) \w+_t\b *\{|^\} \w+_t;", text, "nothing ends in _t")


@rule(SOURCE, ("a.c", '#include "../core/loop.h"\n'))
def include_through_doors(path, text):
    yield from lines_matching(r'#include "\.\./', text, "another room's header comes through its door")


@rule(SOURCE, ("a.c", "int f(void)\n{\n" + "\tg();\n" * (FUNCTION_CEILING + 1) + "}\n"))
def function_length(path, text):
    start, name = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if line == "{":
            start = number
        elif line.startswith("}") and start:
            if number - start - 1 > FUNCTION_CEILING:
                yield f"{start}: {name} has {number - start - 1} lines, the ceiling is {FUNCTION_CEILING}"
            start = 0
        elif re.match(r"[a-zA-Z_].*\(", line):
            name = re.sub(r"\(.*", "", line).split()[-1].lstrip("*")


@rule(r"^tests/(?!lib/wait\.py).*\.(py|c|sh)$", ("tests/unit/a.c", "\tus" "leep(1000);\n"))
def no_sleeping_tests(path, text):
    yield from lines_matching(
        r"(^|[^\w])(time\.)?(sleep|usleep|nanosleep)\s*\(|^\s*sleep \d", text, "wait for a condition instead"
    )


@rule(r".", ("a.md", "see /ho" "me/someone/src\n"))
def no_private_paths(path, text):
    yield from lines_matching(r"(^|[\s\"'=(`])/(wo" r"rk|ho" r"me|mnt|Users)/", text, "a path of one machine")


@rule(r".", ("a.md", "two spaces  \n"))
def tidy_ends(path, text):
    yield from lines_matching(r"[ \t]+$", text, "space at the end")
    if text and not text.endswith("\n"):
        yield f"{text.count(chr(10)) + 1}: no newline at the end of the file"


@rule(r"^tests/.*\.c$", ("tests/unit/a.c", "\tif (!x)\n\t\tskip();\n"))
def skip_says_why(path, text):
    """The reason is printed right before, or by the function of the condition."""
    telling = ["print_message", "printf"]
    for function in re.finditer(r"^\w[^\n;]*?(\w+)\([^;{]*\)\n\{\n(.*?)^\}", text, re.M | re.S):
        if "print_message(" in function.group(2):
            telling.append(function.group(1))
    lines = text.splitlines()
    for number, line in enumerate(lines):
        before = "".join(lines[max(0, number - 3) : number])
        if re.search(r"\bskip\(\);", line) and not any(f"{name}(" in before for name in telling):
            yield f"{number + 1}: print_message the reason first: a skip is said aloud"
