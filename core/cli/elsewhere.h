/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What stands for `word` after the command words `path` ("" for none) where it is one that people
 * bring along from Headscale; NULL: it is not. An option may have its value glued to it. */
const char *elsewhere_find(const char *path, const char *word);
/* The same for a word that is a slip of such a one: less than `below` edits away. */
const char *elsewhere_near(const char *path, const char *word, unsigned below);
