/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "aes_gcm.h"

extern const struct aes_gcm aes_gcm_vaes;
