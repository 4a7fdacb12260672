/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * A view: the peers that a class of nodes sees, in blocks of up to BLOCK_MAX in rising order of id.
 * A block is one zstd frame, made when it is needed and kept until a member changes. Control loop.
 */
#include <sys/queue.h>

#include "map.h"
#include "policy.h"

#define BLOCK_MAX 256
#define BLOCK_PARTS 4          /* in which its own members get it */
#define VIEW_NOBODY UINT32_MAX /* the view of a node that is not approved */

struct block {
	struct node *nodes[BLOCK_MAX];
	unsigned n;
	bool dirty;           /* text is not of now */
	struct json_out text; /* ",{...},{...}" */
	uint32_t offsets[BLOCK_MAX + 1];
	struct blob
		*frame; /* of the text, without the comma for the first block; NULL: to be made */
	/* The same for its members: each gets all of these but one, which is made for it alone,
	 * without itself. NULL: to be made. */
	struct blob *parts[BLOCK_PARTS];
	bool frame_first;
};

TAILQ_HEAD(stream_list, map_stream);

struct view {
	uint32_t id;
	struct block **blocks;
	size_t n_blocks, size, n_nodes;
	struct index users;      /* whose profiles its streams have; struct view_user */
	struct blob *tail;       /* of full maps; NULL: to be made */
	struct stream_list live; /* streams that have a full map */
	struct delta *gathered;  /* for the next tick; NULL: nothing */
	struct delta *delta;     /* of the tick under way */
	struct view *next;
};

struct view *view_new(uint32_t id);
void view_free(struct view *view);

bool view_has(const struct view *view, const struct node *node);
int view_add(struct view *view, struct node *node); /* 0, -ENOMEM */
void view_drop(struct view *view, const struct node *node);
/* All members in order: begin with the view alone. NULL behind the last. */
struct view_walk {
	const struct view *view;
	size_t block;
	unsigned place;
};
struct node *view_next(struct view_walk *walk);
/* A member's record is not what it was. */
void view_touch(struct view *view, const struct node *node);
void view_touch_all(struct view *view);

/* Whose profile its streams have been sent. True when that is new. */
bool view_knows(const struct view *view, const struct user *user);
bool view_meet(struct view *view, const struct user *user);
void view_forget_user(struct view *view, int64_t id);
/* All of them, as JSON without brackets. */
void view_profiles(const struct view *view, const struct tailnet *t, struct json_out *out);

/*
 * The frames of all members but `self`, in order, each with its own reference, into `frames` (room
 * for view_frames_max). Returns how many, or -ENOMEM.
 */
static inline size_t view_frames_max(const struct view *view)
{
	return view->n_blocks + BLOCK_PARTS - 1;
}
int view_frames(struct view *view, const struct map_conf *conf, const struct policy_ops *policy,
	const struct node *self, struct blob **frames, struct map_stats *stats);
