/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <tailplane/err.h>
#include <tailplane/metrics.h>

#include "core_conf.h"

/*
 * The front door's life. What it serves and where changes in the two steps of a reload:
 * front_prepare takes sockets and certificates (which can fail), front_commit serves with them,
 * front_abandon forgets them. The first prepare comes while the process may take low ports, and
 * leaves the certificates to front_prepare_tls, when it is who it stays; the first commit when the
 * I/O loops run. Nobody is accepted before front_open, when all plugins have added their routes.
 * Control loop.
 */
int front_prepare(const struct core_conf *conf, bool starting, struct err *err);
/* The files are read again when they change: who can read them at start can do so then. */
int front_prepare_tls(const struct core_conf *conf, struct err *err);
void front_commit(void);
void front_abandon(void);
/* When the I/O loops run, before the first commit. */
void front_start(void);
void front_open(void);
/* Accepts nobody any more: a successor does, or the next process will. What was accepted here is
 * served as long as plugins do. */
void front_leave(void);
/* A request is being served or on its way. */
bool front_is_busy(void);
/* After the plugins, before the I/O loops end. */
void front_stop(void);
void front_collect(struct metric_sink *sink);
