/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of the control server's operations. Runs on: the control loop. */
#include "common.h"

/* ---- users ---- */

#define ARG_USER_CHOICE                                                   \
	{.name = "identifier",                                            \
		.letter = 'i',                                            \
		.type = SETTING_STRING,                                   \
		.complete = "users list:name",                            \
		.help = "The user's number, or name."},                   \
	{                                                                 \
		.name = "name", .letter = 'n', .type = SETTING_STRING,    \
		.complete = "users list:name", .help = "The user's name." \
	}

/* A user that something belongs to. */
#define ARG_USER(flag, help_)                                                           \
	{                                                                               \
		.name = "user", .letter = 'u', .type = SETTING_STRING, .flags = (flag), \
		.complete = "users list:name", .help = help_                            \
	}

static const struct op_arg users_create_args[] = {
	{.name = "name",
		.type = SETTING_STRING,
		.flags = OP_ARG_REQUIRED | OP_ARG_POSITIONAL,
		.help = "What the user is called; an e-mail address does well."},
	{.name = "display-name",
		.letter = 'd',
		.type = SETTING_STRING,
		.help = "As people read it."},
	{.name = "email", .letter = 'e', .type = SETTING_STRING, .help = "E-mail address."},
	{.name = "picture-url",
		.letter = 'p',
		.type = SETTING_STRING,
		.help = "Address of a picture that clients show."},
	{NULL},
};
static const struct op_arg users_list_args[] = {
	ARG_USER_CHOICE,
	{.name = "email", .letter = 'e', .type = SETTING_STRING, .help = "Only with this address."},
	{NULL},
};
static const struct op_arg users_rename_args[] = {
	ARG_USER_CHOICE,
	{.name = "new-name",
		.letter = 'r',
		.type = SETTING_STRING,
		.flags = OP_ARG_REQUIRED,
		.help = "What the user is called from now on."},
	{NULL},
};
static const struct op_arg users_destroy_args[] = {ARG_USER_CHOICE, {NULL}};

static const struct op_column users_columns[] = {
	{"id", "id", OP_TEXT},
	{"name", "name", OP_TEXT},
	{"displayName", "display name", OP_TEXT},
	{"email", "e-mail", OP_TEXT},
	{"createdAt", "created", OP_AGO},
	{NULL},
};

/* ---- keys ---- */

#define ARG_EXPIRATION(or)                                                   \
	{                                                                    \
		.name = "expiration", .letter = 'e', .type = SETTING_STRING, \
		.help = "How long it can be used: 30m, 24h, 90d (" or ")."   \
	}
#define ARG_KEY_ID(flag)                                                              \
	{                                                                             \
		.name = "id", .letter = 'i', .type = SETTING_STRING, .flags = (flag), \
		.help = "The key's number."                                           \
	}

static const struct op_arg preauthkeys_create_args[] = {
	ARG_USER(0, "Whose the nodes are that come with it: name or number."),
	{.name = "reusable", .type = SETTING_BOOL, .help = "For more than one node."},
	{.name = "ephemeral",
		.type = SETTING_BOOL,
		.help = "Its nodes leave some time after they were last seen."},
	ARG_EXPIRATION("1h"),
	{.name = "tags",
		.type = SETTING_STRING,
		.flags = OP_ARG_LIST,
		.help = "Tags of its nodes, such as tag:server; they are then nobody's."},
	{NULL},
};
static const struct op_arg preauthkeys_list_args[] = {
	ARG_USER(0, "Only this user's."),
	{NULL},
};
static const struct op_arg key_args[] = {ARG_KEY_ID(OP_ARG_REQUIRED), {NULL}};

static const struct op_column preauth_columns[] = {
	{"id", "id", OP_TEXT},
	{"key", "key", OP_TEXT},
	{"user.name", "user", OP_TEXT},
	{"reusable", "reusable", OP_TEXT},
	{"ephemeral", "ephemeral", OP_TEXT},
	{"used", "used", OP_TEXT},
	{"expiration", "expires", OP_AGO},
	{"createdAt", "created", OP_AGO},
	{"aclTags", "tags", OP_TEXT},
	{NULL},
};
static const struct op_column preauth_new_columns[] = {{"key", "key", OP_ALONE}, {NULL}};
static const struct op_column apikey_new_columns[] = {{"apiKey", "key", OP_ALONE}, {NULL}};

static const struct op_arg apikeys_create_args[] = {ARG_EXPIRATION("90d"), {NULL}};
static const struct op_arg apikeys_choice_args[] = {
	{.name = "prefix",
		.letter = 'p',
		.type = SETTING_STRING,
		.complete = "apikeys list:prefix",
		.help = "The beginning of the key, as the list shows it."},
	ARG_KEY_ID(0),
	{NULL},
};
static const struct op_column apikey_columns[] = {
	{"id", "id", OP_TEXT},
	{"prefix", "prefix", OP_TEXT},
	{"expiration", "expires", OP_AGO},
	{"createdAt", "created", OP_AGO},
	{"lastSeen", "last used", OP_AGO},
	{NULL},
};

/* ---- nodes ---- */

static const struct op_arg nodes_list_args[] = {
	ARG_USER(0, "Only this user's."),
	{.name = "waiting", .type = SETTING_BOOL, .help = "Only those that wait for approval."},
	{NULL},
};
static const struct op_arg node_args[] = {ARG_NODE, {NULL}};
static const struct op_arg nodes_routes_args[] = {
	{.name = "identifier",
		.letter = 'i',
		.type = SETTING_STRING,
		.complete = "nodes list:givenName",
		.help = "Only this node's."},
	{NULL},
};
static const struct op_arg nodes_rename_args[] = {
	{.name = "new-name",
		.type = SETTING_STRING,
		.flags = OP_ARG_REQUIRED | OP_ARG_POSITIONAL,
		.help = "Its name in DNS from now on, whatever the machine calls itself."},
	ARG_NODE,
	{NULL},
};
static const struct op_arg nodes_expire_args[] = {
	ARG_NODE,
	{.name = "expiry",
		.letter = 'e',
		.type = SETTING_STRING,
		.help = "When, as 2026-12-31T23:59:59Z (now)."},
	{.name = "disable",
		.letter = 'd',
		.type = SETTING_BOOL,
		.help = "Its key does not expire any more."},
	{NULL},
};
static const struct op_arg nodes_tag_args[] = {
	ARG_NODE,
	{.name = "tags",
		.letter = 't',
		.type = SETTING_STRING,
		.flags = OP_ARG_REQUIRED | OP_ARG_LIST,
		.help = "Its tags from now on, such as tag:server; a user's node becomes "
			"nobody's."},
	{NULL},
};
static const struct op_arg nodes_approve_routes_args[] = {
	ARG_NODE,
	{.name = "routes",
		.letter = 'r',
		.type = SETTING_STRING,
		.flags = OP_ARG_REQUIRED | OP_ARG_LIST,
		.help = "The routes that are approved from now on, and no others; \"\" for none."},
	{NULL},
};
static const struct op_arg nodes_approve_args[] = {
	ARG_NODE,
	{.name = "revoke", .type = SETTING_BOOL, .help = "Take the approval back."},
	{NULL},
};
static const struct op_arg nodes_set_ip_args[] = {
	{.name = "address",
		.type = SETTING_ADDRESS,
		.flags = OP_ARG_REQUIRED | OP_ARG_POSITIONAL | OP_ARG_LIST,
		.help = "An address, or one of each family; a family that is not given stays."},
	ARG_NODE,
	{NULL},
};

static const struct op_column nodes_columns[] = {
	{"id", "id", OP_TEXT},
	{"givenName", "name", OP_TEXT},
	{"user.name", "user", OP_TEXT},
	{"tags", "tags", OP_TEXT},
	{"ipAddresses", "addresses", OP_TEXT},
	{"online", "online", OP_STATE},
	{"lastSeen", "last seen", OP_AGO},
	{"expiry", "expires", OP_AGO},
	{"expired", "expired", OP_TEXT},
	{"ephemeral", "ephemeral", OP_TEXT},
	{"approved", "approved", OP_TEXT},
	{"os", "system", OP_TEXT},
	{NULL},
};
static const struct op_column ping_columns[] = {
	{"node", "node", OP_TEXT},
	{"answer", "answer", OP_TEXT},
	{"took", "took", OP_DURATION},
	{NULL},
};
static const struct op_column routes_columns[] = {
	{"id", "id", OP_TEXT},
	{"givenName", "name", OP_TEXT},
	{"approvedRoutes", "approved", OP_TEXT},
	{"availableRoutes", "available", OP_TEXT},
	{"subnetRoutes", "serving", OP_TEXT},
	{NULL},
};

/* ---- registrations ---- */

#define ARG_AUTH_ID                                                                           \
	{                                                                                     \
		.name = "auth-id", .type = SETTING_STRING, .flags = OP_ARG_REQUIRED,          \
		.complete = "auth list:authId", .help = "What the registration's page shows." \
	}

static const struct op_arg auth_register_args[] = {
	ARG_AUTH_ID,
	ARG_USER(OP_ARG_REQUIRED, "Whose the node is: name or number."),
	{NULL},
};
static const struct op_arg auth_args[] = {ARG_AUTH_ID, {NULL}};
/* As it was called before; pages of that time said it. */
static const struct op_arg nodes_register_args[] = {
	{.name = "key",
		.letter = 'k',
		.type = SETTING_STRING,
		.flags = OP_ARG_REQUIRED,
		.complete = "auth list:authId",
		.help = "What the registration's page shows."},
	ARG_USER(OP_ARG_REQUIRED, "Whose the node is: name or number."),
	{NULL},
};
static const struct op_column auth_columns[] = {
	{"authId", "id", OP_TEXT},
	{"hostname", "machine", OP_TEXT},
	{"createdAt", "asked", OP_AGO},
	{"ephemeral", "ephemeral", OP_TEXT},
	{"machineKey", "machine key", OP_TEXT},
	{NULL},
};

static const struct op_column events_columns[] = {
	{"time", "time", OP_TEXT},
	{"node", "node", OP_TEXT},
	{"user", "user", OP_TEXT},
	{"what", "what", OP_TEXT},
	{"authId", "registration", OP_TEXT},
	{NULL},
};

/* ---- policy ---- */

#define ARG_BYPASS(name_)                                                                      \
	{                                                                                      \
		.name = name_, .type = SETTING_BOOL,                                           \
		.help = "Accepted for scripts that give it: the daemon is asked all the same." \
	}
#define ARG_POLICY_FILE                                                                      \
	{                                                                                    \
		.name = "file", .letter = 'f', .type = SETTING_PATH,                         \
		.flags = OP_ARG_REQUIRED | OP_ARG_FILE | OP_ARG_INPUT, .help = "The policy." \
	}

static const struct op_arg policy_get_args[] = {
	ARG_BYPASS("bypass-server-and-access-database-directly"), {NULL}};
static const struct op_arg policy_file_args[] = {
	ARG_POLICY_FILE,
	ARG_BYPASS("bypass-server-and-access-database-directly"),
	{NULL},
};

static const struct op_column doctor_columns[] = {
	{"state", "state", OP_STATE},
	{"check", "check", OP_TEXT},
	{"found", "found", OP_TEXT},
	{"advice", "what to do", OP_TEXT},
	{NULL},
};

const struct op control_ops[] = {
	{.name = "users create",
		.aliases = "- c|new",
		.help = "Make a user.",
		.scope = OP_WRITE,
		.args = users_create_args,
		.columns = users_columns,
		.run = run_users_create},
	{.name = "users list",
		.aliases = "- ls|show",
		.help = "Show the users.",
		.args = users_list_args,
		.columns = users_columns,
		.run = run_users_list},
	{.name = "users rename",
		.aliases = "- mv",
		.help = "Give a user another name.",
		.scope = OP_WRITE,
		.args = users_rename_args,
		.columns = users_columns,
		.run = run_users_rename},
	{.name = "users destroy",
		.aliases = "- delete",
		.help = "Remove a user who has no nodes, with the user's pre-auth keys.",
		.scope = OP_WRITE,
		.args = users_destroy_args,
		.run = run_users_destroy},

	{.name = "preauthkeys create",
		.aliases = "authkey c|new",
		.help = "Make a key that a machine joins with: tailscale up --auth-key. It is "
			"shown "
			"this once.",
		.scope = OP_WRITE,
		.args = preauthkeys_create_args,
		.columns = preauth_new_columns,
		.run = run_preauthkeys_create},
	{.name = "preauthkeys list",
		.aliases = "authkey ls|show",
		.help = "Show the pre-auth keys, without their secrets.",
		.args = preauthkeys_list_args,
		.columns = preauth_columns,
		.run = run_preauthkeys_list},
	{.name = "preauthkeys expire",
		.aliases = "authkey revoke|exp|e",
		.help = "Let a pre-auth key expire now. Nodes that came with it stay.",
		.scope = OP_WRITE,
		.args = key_args,
		.run = run_preauthkeys_expire},
	{.name = "preauthkeys delete",
		.aliases = "authkey del|rm|d",
		.help = "Remove a pre-auth key. Nodes that came with it stay.",
		.scope = OP_WRITE,
		.args = key_args,
		.run = run_preauthkeys_delete},

	{.name = "apikeys create",
		.aliases = "- c|new",
		.help = "Make a key for an HTTP API, which is not there yet. It is shown this "
			"once.",
		.scope = OP_WRITE,
		.args = apikeys_create_args,
		.columns = apikey_new_columns,
		.run = run_apikeys_create},
	{.name = "apikeys list",
		.aliases = "- ls|show",
		.help = "Show the keys of the HTTP API, without their secrets.",
		.columns = apikey_columns,
		.run = run_apikeys_list},
	{.name = "apikeys expire",
		.aliases = "- revoke|exp|e",
		.help = "Let a key of the HTTP API expire now.",
		.scope = OP_WRITE,
		.args = apikeys_choice_args,
		.run = run_apikeys_expire},
	{.name = "apikeys delete",
		.aliases = "- remove|del",
		.help = "Remove a key of the HTTP API.",
		.scope = OP_WRITE,
		.args = apikeys_choice_args,
		.run = run_apikeys_delete},

	{.name = "nodes list",
		.aliases = "- ls|show",
		.help = "Show the nodes of the tailnet.",
		.args = nodes_list_args,
		.columns = nodes_columns,
		.run = run_nodes_list},
	{.name = "nodes register",
		.help = "The same as `auth register`, with the flags that scripts may have.",
		.scope = OP_WRITE,
		.args = nodes_register_args,
		.columns = nodes_columns,
		.run = run_auth_register},
	{.name = "nodes list-routes",
		.aliases = "- lsr|routes",
		.help = "Show which routes nodes advertise, which are approved, and who serves "
			"them.",
		.args = nodes_routes_args,
		.columns = routes_columns,
		.run = run_nodes_routes},
	{.name = "nodes expire",
		.aliases = "- logout|exp|e",
		.help = "Let a node's key expire: it must log in again.",
		.scope = OP_WRITE,
		.args = nodes_expire_args,
		.columns = nodes_columns,
		.run = run_nodes_expire},
	{.name = "nodes ping",
		.help = "Ask a node's client through its connection to this server, and show what "
			"it answered and when: whether it listens. `tailscale ping` asks for the "
			"way between two nodes.",
		.args = node_args,
		.columns = ping_columns,
		.run = run_nodes_ping},
	{.name = "nodes rename",
		.help = "Give a node another name.",
		.scope = OP_WRITE,
		.args = nodes_rename_args,
		.columns = nodes_columns,
		.run = run_nodes_rename},
	{.name = "nodes delete",
		.aliases = "- del",
		.help = "Remove a node from the tailnet.",
		.scope = OP_WRITE,
		.args = node_args,
		.run = run_nodes_delete},
	{.name = "nodes tag",
		.aliases = "- tags|t",
		.help = "Set a node's tags.",
		.scope = OP_WRITE,
		.args = nodes_tag_args,
		.columns = nodes_columns,
		.run = run_nodes_tag},
	{.name = "nodes approve-routes",
		.help = "Set which of a node's routes are approved.",
		.scope = OP_WRITE,
		.args = nodes_approve_routes_args,
		.columns = routes_columns,
		.run = run_nodes_approve_routes},
	{.name = "nodes approve",
		.help = "Admit a node that waits for approval.",
		.scope = OP_WRITE,
		.args = nodes_approve_args,
		.columns = nodes_columns,
		.run = run_nodes_approve},
	{.name = "nodes set-ip",
		.help = "Set a node's addresses by hand.",
		.scope = OP_WRITE,
		.args = nodes_set_ip_args,
		.columns = nodes_columns,
		.run = run_nodes_set_ip},
	{.name = "nodes backfillips",
		.help = "Give all nodes what they lack of the configured pools' addresses, and "
			"take "
			"what no pool has.",
		.scope = OP_WRITE,
		.run = run_nodes_backfill},

	{.name = "auth register",
		.help = "Register a machine that waits, for a user.",
		.scope = OP_WRITE,
		.args = auth_register_args,
		.columns = nodes_columns,
		.run = run_auth_register},
	{.name = "auth approve",
		.help = "Let a machine that waits log in again for the user who has it.",
		.scope = OP_WRITE,
		.args = auth_args,
		.columns = nodes_columns,
		.run = run_auth_approve},
	{.name = "auth reject",
		.help = "Refuse a machine that waits.",
		.scope = OP_WRITE,
		.args = auth_args,
		.run = run_auth_reject},
	{.name = "auth list",
		.aliases = "- ls|show",
		.help = "Show the machines that wait to be registered.",
		.columns = auth_columns,
		.run = run_auth_list},

	{.name = "policy get",
		.aliases = "- show|view|fetch",
		.help = "Show the policy, as the engine that is loaded has it.",
		.args = policy_get_args,
		.run = run_policy_get},
	{.name = "policy set",
		.aliases = "- put|update",
		.help = "Put a policy in force, if it is right.",
		.scope = OP_WRITE,
		.args = policy_file_args,
		.run = run_policy_set},
	{.name = "policy check",
		.help = "Check a policy without putting it in force.",
		.args = policy_file_args,
		.run = run_policy_check},

	{.name = "doctor",
		.help = "Look at the server as clients would, from here, through relays and "
			"through connected clients: what is wrong, and what to do. Fails when "
			"something is.",
		.columns = doctor_columns,
		.run = run_doctor},
	{.name = "events watch",
		.help = "Show what changes in the tailnet, as it changes: nodes, and registrations "
			"that wait for a person.",
		.columns = events_columns,
		.run = run_events_watch},
	{NULL},
};
