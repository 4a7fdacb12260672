/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdio.h>

#include <tailplane/op.h>

/* The operations as mdoc list items, for the middle of tailplane(1). */
void manual_ops(FILE *out, const struct op *ops);
void manual_op(FILE *out, const struct op *op);

/* What a value of this argument is called in a usage line: "FILE", "HOST:PORT", "on|off". Heap. */
char *op_metavar(const struct op_arg *arg);
