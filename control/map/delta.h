/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What changed for a view since its last tick, gathered node by node and then made into frames once
 * for all its streams. Who is itself among the changed nodes gets a message of its own, since no
 * recipient may find itself among its peers; in large deltas all but one piece of that is shared
 * too. Patches of the recipient itself are harmless: clients ignore ids that are no peers.
 * Control loop.
 */
#include "map.h"
#include "policy.h"

struct view;
struct delta;

struct delta *delta_new(void); /* NULL: no memory */
void delta_free(struct delta *delta);

/* A node comes into the view, or its whole record is told anew. From here to delta_finish the nodes
 * must stay. */
void delta_change(struct delta *delta, struct node *node);
void delta_patch(struct delta *delta, struct node *node, unsigned what);
void delta_remove(struct delta *delta, int64_t id);
void delta_profile(struct delta *delta, int64_t user); /* profile_id */
/* What `other` has gathered of ids alone. */
void delta_inherit(struct delta *delta, const struct delta *other);
size_t delta_records(const struct delta *delta);
size_t delta_patches(const struct delta *delta);

/* Writes what was gathered; from then on only delta_frames. */
void delta_finish(struct delta *delta, const struct tailnet *t, const struct view *view,
	const struct map_conf *conf, const struct policy_ops *policy);
#define DELTA_FRAMES_MAX 128
/* The message for the recipient of that id: frames, each with its own reference. 0: nothing that
 * concerns it; -ENOMEM. */
int delta_frames(struct delta *delta, int64_t self, struct blob *frames[DELTA_FRAMES_MAX]);
