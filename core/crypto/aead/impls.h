/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "aead.h"

/* What each file of this folder offers to the table in aead.c. */
extern const struct aead_impl aead_portable;
