# SPDX-License-Identifier: BSD-3-Clause
"""What perf/run makes of the benchmarks: one file per subject, each with the same five functions.

measure(context)      runs the benchmark and answers its JSON; raises Absent with the reason
text(data)            lines of Markdown
plots(data)           {name: SVG}
targets(data, kind)   rows of host.target for this kind of machine
headline(data)        rows (what, value) for the README
"""
