#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""aead_asm.py COMPILER LIBRARY...: what the machine code of the AEAD promises, read in its disassembly.

The hot loops named below keep their state in registers, or spill as little as is said. A loop is what lies
between a backward jump and its target and has no other loop inside; a reference is an operand over %rsp or
%rbp. What another compiler makes of them is only told.

What branches and addresses depend on is traced, not read: test_aead_trace.c, test_aead_memcheck.c.
"""

import re
import subprocess
import sys

# function: (references allowed in its longest innermost loop, vector instructions at least in it, written in C)
PROMISES = {
    # Half of the state passes through the stack: what more there is of it is another compiler's doing.
    "aead_avx2_step16": (230, 300, True),
    "aead_avx2_step8": (80, 140, True),
    "aead_avx512_chacha32": (0, 100, False),
    "aead_avx512_chacha16": (0, 90, False),
    "aead_avx512_chacha32_keys": (0, 100, False),
    "aead_avx512_piped_begin": (0, 90, False),
    "aead_avx512_piped_next": (0, 90, False),
    "aead_avx512_poly_steps": (0, 100, False),
    "aead_avx512_poly_short": (0, 40, False),
}
COMPILER = "clang"

HEAD = re.compile(r"^([0-9a-f]+) <([^>]+)>:$")
LINE = re.compile(r"^ *([0-9a-f]+):\t(\S.*)$")
JUMP = re.compile(r"^(?:j\w+|loop\w*) +([0-9a-f]+) <")


def functions(library):
    text = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", library], capture_output=True, text=True, check=True
    ).stdout
    found, code = {}, None
    for line in text.splitlines():
        if head := HEAD.match(line):
            code = found.setdefault(head[2], [])
        elif (m := LINE.match(line)) and code is not None:
            code.append((int(m[1], 16), m[2].split("#")[0].strip()))
    return found


def innermost_loops(code):
    place = {at: i for i, (at, _) in enumerate(code)}
    spans = []
    for i, (_, insn) in enumerate(code):
        m = JUMP.match(insn)
        target = place.get(int(m[1], 16)) if m else None
        if target is not None and target <= i:
            spans.append((target, i))
    return [
        [insn for _, insn in code[a : b + 1]]
        for a, b in spans
        if not any((c, d) != (a, b) and a <= c and d <= b for c, d in spans)
    ]


def check(name, problem):
    print(f"{'not ok' if problem else 'ok'} - {name}{': ' + problem if problem else ''}")
    return bool(problem)


def loop_problem(code, allowed, vectors_min):
    loops = innermost_loops(code)
    if not loops:
        return "has no loop"
    loop = max(loops, key=len)
    vectors = sum("%ymm" in insn or "%zmm" in insn for insn in loop)
    if vectors < vectors_min:
        return f"its longest loop has {vectors} vector instructions"
    references = [insn for insn in loop if re.search(r"\(%r[sb]p", insn) and not insn.startswith("lea")]
    if len(references) > allowed:
        return f"{len(references)} stack references, {allowed} allowed: {references[allowed]}"
    return None


def main():
    compiler, *libraries = sys.argv[1:]
    found = {name: code for library in libraries for name, code in functions(library).items()}
    failed = 0
    for name, (allowed, vectors_min, in_c) in PROMISES.items():
        code = found.get(name)
        problem = loop_problem(code, allowed, vectors_min) if code else "is not there"
        if in_c and compiler != COMPILER:
            print(f"ok - {name} # SKIP built by {compiler}: {problem or 'holds all the same'}")
        else:
            failed += check(f"{name} keeps to its registers", problem)
    sys.exit(failed > 0)


main()
