/* SPDX-License-Identifier: BSD-3-Clause */
/* What administrators and clients change of a node that is there. Control loop. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "json_in.h"
#include "policy.h"

/* One struct for all: what is asked for, copied. */
struct node_wish {
	struct change change;
	int (*edit)(struct node_wish *wish, const struct node *node, struct err *err);
	tailnet_done_fn done;
	void *arg;
	int64_t id;
	int64_t number;
	bool yes;
	char *text, *more; /* heap */
	uint8_t said[HOSTINFO_SAID_LEN];
	struct net_addr v4, v6;
	struct public_key key;
};

static void wish_done(struct change *change, int error, const char *why)
{
	struct node_wish *wish = (struct node_wish *)change;
	struct tailnet_result result = {.error = error, .why = why, .id = wish->id};
	struct node *node = error ? NULL : node_by_id(change->t, wish->id);

	/* what others change of it later takes this back (derive) */
	if (node && !secret_is_zero(wish->said, sizeof(wish->said)))
		memcpy(node->said, wish->said, sizeof(node->said));
	if (wish->done)
		wish->done(wish->arg, &result);
	free(wish->text);
	free(wish->more);
	free(wish);
}

static int wish_prepare(struct change *change, struct err *err)
{
	struct node_wish *wish = (struct node_wish *)change;
	const struct node *node = node_by_id(change->t, wish->id);
	int rc;

	if (!node)
		return err_set(err, -ENOENT, "there is no node %lld", (long long)wish->id);
	if (!wish->edit) {
		change_remove(change, node);
		return 0;
	}
	rc = change_edit(change, node);
	return rc ? rc : wish->edit(wish, node, err);
}

static struct node_wish *wish_new(int64_t id,
	int (*edit)(struct node_wish *wish, const struct node *node, struct err *err),
	tailnet_done_fn done, void *arg)
{
	struct node_wish *wish = calloc(1, sizeof(*wish));

	if (!wish) {
		tailnet_no_memory(done, arg);
		return NULL;
	}
	wish->change.prepare = wish_prepare;
	wish->change.done = wish_done;
	wish->edit = edit;
	wish->id = id;
	wish->done = done;
	wish->arg = arg;
	return wish;
}

/* ---- name, expiry, removal, approval ------------------------------------------------------- */

static int edit_name(struct node_wish *wish, const struct node *node, struct err *err)
{
	const struct node *other;

	if (!wish->text)
		return -ENOMEM;
	if (!label_valid(wish->text))
		return err_set(err, -EINVAL,
			"\"%.80s\" is no name in DNS: 1 to 63 of a-z, 0-9 and '-', no '-' at the "
			"ends",
			wish->text);
	other = node_by_label(wish->change.t, wish->text);
	if (other && other != node)
		return err_set(err, -EEXIST, "node %lld has the name \"%s\" already",
			(long long)other->d.id, wish->text);
	if (!other && !change_reserve(&wish->change, wish->text))
		return err_set(err, -EEXIST, "a node is just taking the name \"%s\"", wish->text);
	wish->change.data.renamed = true;
	return text_set(&wish->change.data.label, wish->text);
}

void node_rename(struct tailnet *t, int64_t id, const char *label, tailnet_done_fn done, void *arg)
{
	struct node_wish *wish = wish_new(id, edit_name, done, arg);

	if (!wish)
		return;
	wish->text = strdup(label);
	change_submit_node(t, id, &wish->change);
}

static int edit_expiry(struct node_wish *wish, const struct node *node, struct err *err)
{
	int64_t now = tailnet_wall(wish->change.t);

	if (!node->d.user && wish->number)
		return err_set(err, -EINVAL, "node %lld is tagged: its key does not expire",
			(long long)node->d.id);
	wish->change.data.expiry = wish->number && wish->number < now ? now : wish->number;
	return 0;
}

void node_expire(struct tailnet *t, int64_t id, int64_t expiry, tailnet_done_fn done, void *arg)
{
	struct node_wish *wish = wish_new(id, edit_expiry, done, arg);

	if (!wish)
		return;
	wish->number = expiry;
	change_submit_node(t, id, &wish->change);
}

void node_remove(struct tailnet *t, int64_t id, tailnet_done_fn done, void *arg)
{
	struct node_wish *wish = wish_new(id, NULL, done, arg);

	if (wish)
		change_submit_node(t, id, &wish->change);
}

static int edit_approval(struct node_wish *wish, const struct node *node, struct err *err)
{
	(void)node, (void)err;
	wish->change.data.approved = wish->yes;
	return 0;
}

void node_approve(struct tailnet *t, int64_t id, bool approved, tailnet_done_fn done, void *arg)
{
	struct node_wish *wish = wish_new(id, edit_approval, done, arg);

	if (!wish)
		return;
	wish->yes = approved;
	change_submit_node(t, id, &wish->change);
}

/* ---- tags, routes, addresses --------------------------------------------------------------- */

static int edit_tags(struct node_wish *wish, const struct node *node, struct err *err)
{
	struct node_data *d = &wish->change.data;

	(void)node;
	if (wish->number)
		return err_set(err, -EINVAL,
			"\"%.64s\" is no tag: tag:NAME of letters, digits and '-'",
			wish->more ? wish->more : "");
	if (!wish->text)
		return -ENOMEM;
	if (!strcmp(wish->text, "[]"))
		return err_set(err, -EINVAL,
			"a node needs at least one tag: it becomes a user's again by logging in");
	d->user = 0;
	d->expiry = 0;
	return text_set(&d->tags, wish->text);
}

void node_set_tags(struct tailnet *t, int64_t id, const char *const *tags, size_t n,
	tailnet_done_fn done, void *arg)
{
	struct node_wish *wish = wish_new(id, edit_tags, done, arg);

	if (!wish)
		return;
	for (size_t i = 0; i < n && !wish->number; i++)
		if (!tag_valid(tags[i])) {
			wish->number = 1;
			wish->more = strdup(tags[i]);
		}
	wish->text = texts_json(tags, n);
	change_submit_node(t, id, &wish->change);
}

static int edit_routes(struct node_wish *wish, const struct node *node, struct err *err)
{
	(void)node, (void)err;
	return text_set(&wish->change.data.approved_routes, wish->text);
}

char *routes_json(const struct net_prefix *routes, size_t n)
{
	static const char *const exits[] = {"0.0.0.0/0", "::/0"};
	json_t *array = json_array();
	bool exit = false;
	char *text, buf[NET_PREFIX_STRLEN];

	for (size_t i = 0; i < n; i++) {
		if (prefix_is_exit(&routes[i]))
			exit = true;
		else
			json_array_append_new(
				array, json_string(net_prefix_format(&routes[i], buf)));
	}
	for (size_t i = 0; exit && i < 2; i++)
		json_array_append_new(array, json_string(exits[i]));
	text = json_in_text(array);
	json_decref(array);
	return text;
}

char *routes_served_json(const struct node *node)
{
	json_t *array = json_array();
	char *text, buf[NET_PREFIX_STRLEN];

	for (size_t i = 0; i < node->n_routes; i++)
		if (node->routes[i].primary && !prefix_is_exit(&node->routes[i].prefix))
			json_array_append_new(array,
				json_string(net_prefix_format(&node->routes[i].prefix, buf)));
	text = json_in_text(array);
	json_decref(array);
	return text;
}

void node_approve_routes(struct tailnet *t, int64_t id, const struct net_prefix *routes, size_t n,
	tailnet_done_fn done, void *arg)
{
	struct node_wish *wish = wish_new(id, edit_routes, done, arg);

	if (!wish)
		return;
	wish->text = routes_json(routes, n);
	change_submit_node(t, id, &wish->change);
}

static int take_address(struct node_wish *wish, const struct net_addr *addr,
	const struct net_prefix *pool, struct net_addr *to, struct err *err)
{
	struct tailnet *t = wish->change.t;
	char text[NET_ADDR_STRLEN], range[NET_PREFIX_STRLEN];

	net_addr_format(addr, text);
	if (!addr->family || net_addr_equal(addr, to))
		return 0;
	if (!net_prefix_contains(pool, addr))
		return err_set(err, -EINVAL, "%s is not in the range %s", text,
			net_prefix_format(pool, range));
	if (address_is_kept_free(addr))
		return err_set(err, -EINVAL,
			"%s is no node's: clients use it, or its range, themselves", text);
	if (!address_is_free(t, addr))
		return err_set(err, -EEXIST, "another node has %s", text);
	change_reserve(&wish->change, text);
	*to = *addr;
	return 0;
}

static int edit_addresses(struct node_wish *wish, const struct node *node, struct err *err)
{
	static const char *const ranges[] = {"100.64.0.0/10", "fd7a:115c:a1e0::/48"};
	const struct tailnet_conf *conf = &wish->change.t->conf;
	struct node_data *d = &wish->change.data;
	struct net_prefix v4 = conf->v4, v6 = conf->v6;
	int rc;

	(void)node;
	if (!v4.addr.family)
		net_prefix_parse(&v4, ranges[0]);
	if (!v6.addr.family)
		net_prefix_parse(&v6, ranges[1]);
	rc = take_address(wish, &wish->v4, &v4, &d->v4, err);
	return rc ? rc : take_address(wish, &wish->v6, &v6, &d->v6, err);
}

void node_set_addresses(struct tailnet *t, int64_t id, const struct net_addr *v4,
	const struct net_addr *v6, tailnet_done_fn done, void *arg)
{
	struct node_wish *wish = wish_new(id, edit_addresses, done, arg);

	if (!wish)
		return;
	wish->v4 = *v4;
	wish->v6 = *v6;
	change_submit_node(t, id, &wish->change);
}

static int edit_backfill(struct node_wish *wish, const struct node *node, struct err *err)
{
	const struct tailnet_conf *conf = &wish->change.t->conf;
	struct node_data *d = &wish->change.data;

	(void)node;
	if (!conf->v4.addr.family)
		d->v4 = (struct net_addr){0};
	if (!conf->v6.addr.family)
		d->v6 = (struct net_addr){0};
	return change_addresses(&wish->change, err);
}

void node_backfill(struct tailnet *t, int64_t id, tailnet_done_fn done, void *arg)
{
	struct node_wish *wish = wish_new(id, edit_backfill, done, arg);

	if (wish)
		change_submit_node(t, id, &wish->change);
}

/* ---- what its client reports --------------------------------------------------------------- */

/* Only a change of what is more than a measurement is worth a write. */
static int take_hostinfo(struct node_wish *wish, const struct node *node)
{
	struct node_data *d = &wish->change.data;
	struct hostinfo info;
	bool same;
	int rc = hostinfo_read(&info, wish->text);

	if (rc)
		return rc;
	same = !memcmp(info.steady, node->info.steady, sizeof(info.steady));
	if (!same) {
		rc = text_set(&d->hostinfo, wish->text);
		if (!rc)
			rc = text_set(&d->hostname, info.hostname);
	}
	hostinfo_fini(&info);
	return rc;
}

/* The host name gives the label until an administrator does. */
static int follow_hostname(struct change *change, const struct node *node)
{
	char before[LABEL_SIZE], now[LABEL_SIZE];

	if (change->data.renamed)
		return 0;
	label_from_hostname(before, node->d.hostname);
	label_from_hostname(now, change->data.hostname);
	return strcmp(before, now) ? change_label(change, now) : 0;
}

/* Routes that the policy approves by itself; never takes one back. */
int routes_auto_approve(struct change *change, const struct node *node, const char *hostinfo)
{
	const struct policy_ops *policy = change->t->policy;
	struct net_prefix all[HOSTINFO_ROUTES_MAX];
	size_t n = 0, had;
	struct hostinfo info;
	char *text;
	int rc;

	if (!policy->route_approved || !node || hostinfo_read(&info, hostinfo))
		return 0;
	for (; n < node->n_approved; n++)
		all[n] = node->approved[n];
	had = n;
	for (size_t i = 0; i < info.n_routes && n < HOSTINFO_ROUTES_MAX; i++)
		if (policy->route_approved(node, &info.routes[i]))
			all[n++] = info.routes[i];
	hostinfo_fini(&info);
	if (n == had)
		return 0;
	text = routes_json(all, n);
	rc = text_set(&change->data.approved_routes, text);
	free(text);
	return rc;
}

static int edit_report(struct node_wish *wish, const struct node *node, struct err *err)
{
	struct node_data *d = &wish->change.data;
	int rc = 0;

	(void)err;
	if (!secret_is_zero(wish->key.bytes, sizeof(wish->key.bytes)))
		d->disco = wish->key;
	if (wish->number)
		d->cap = wish->number;
	if (wish->text)
		rc = take_hostinfo(wish, node);
	if (!rc && wish->more)
		rc = text_set(&d->endpoints, wish->more);
	if (!rc)
		rc = follow_hostname(&wish->change, node);
	if (!rc && d->hostinfo && strcmp(d->hostinfo, node->d.hostinfo))
		rc = routes_auto_approve(&wish->change, node, d->hostinfo);
	return rc;
}

bool node_said(const struct tailnet *t, const struct node *node,
	const uint8_t said[static HOSTINFO_SAID_LEN])
{
	/* what is under way may change it */
	return !secret_is_zero(said, HOSTINFO_SAID_LEN) &&
	       !memcmp(node->said, said, HOSTINFO_SAID_LEN) &&
	       lane_is_free(&t->lanes, &node->d.machine);
}

void node_report(struct tailnet *t, struct node *node, const struct node_report *report,
	tailnet_done_fn done, void *arg)
{
	struct node_wish *wish = wish_new(node->d.id, edit_report, done, arg);

	if (!wish)
		return;
	if (report->disco)
		wish->key = *report->disco;
	wish->number = report->cap;
	if (report->hostinfo)
		wish->text = hostinfo_store(report->hostinfo, node->d.hostinfo);
	if (wish->text && report->said)
		memcpy(wish->said, report->said, sizeof(wish->said));
	if (report->endpoints)
		wish->more = endpoints_store(report->endpoints);
	change_submit_node(t, node->d.id, &wish->change);
}
