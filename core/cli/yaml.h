/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdio.h>

#include <jansson.h>

/* A JSON value as a block-style YAML document that both YAML 1.1 and 1.2 readers take for the same
 * value: a string that either could take for something else is quoted. */
void yaml_print(FILE *out, const json_t *value);
