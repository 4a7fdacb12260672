/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

#define DEFAULT_SOCKET "/run/tailplane/ctl.sock"

const struct option_name option_names[] = {
	{'s', "socket", "SOCKET",
		"the daemon's control socket; also TAILPLANE_SOCKET in the environment "
		"(" DEFAULT_SOCKET "); none: do not ask the daemon"},
	{'o', "output", "table|json|yaml|json-line", "how the result is shown (table)"},
	{0, "color", "auto|always|never",
		"colours; auto: on a terminal, unless NO_COLOR is set (auto)"},
	{0, "watch", "[SECONDS]", "repeat until interrupted, each 2 s unless said otherwise"},
	{0, "force", NULL,
		"accepted, for scripts that give it to each command: nothing is asked for anyway"},
	{'h', "help", NULL, "explain the command"},
	{'V', "version", NULL, "print the version"},
	{0},
};

void options_init(struct options *options)
{
	const char *socket = getenv("TAILPLANE_SOCKET");

	*options = (struct options){
		.socket = socket != NULL && socket[0] != '\0' ? socket : DEFAULT_SOCKET,
	};
}

static int set_word(
	int *value, const char *const *words, const char *name, const char *given, struct err *err)
{
	for (int i = 0; words[i] != NULL; i++) {
		if (strcmp(words[i], given) == 0) {
			*value = i;
			return 0;
		}
	}
	return err_set(err, -EINVAL, "--%s takes %s, %s%s%s or %s, not '%s'", name, words[0],
		words[1], words[3] != NULL ? ", " : "", words[3] != NULL ? words[2] : "",
		words[3] != NULL ? words[3] : words[2], given);
}

static int set_watch(struct options *options, const char *value, struct err *err)
{
	char *end;

	options->watch_s = 2;
	if (value == NULL)
		return 0;
	options->watch_s = strtod(value, &end);
	if (end == value || *end != '\0' || !(options->watch_s >= 0.1 && options->watch_s <= 86400))
		return err_set(
			err, -EINVAL, "--watch takes seconds (0.1 to 86400), not '%s'", value);
	return 0;
}

static int set(struct options *options, const char *name, const char *value, struct err *err)
{
	static const char *const outputs[] = {"table", "json", "yaml", "json-line", NULL};
	static const char *const colours[] = {"auto", "always", "never", NULL};
	int word = 0, rc;

	if (strcmp(name, "socket") == 0) {
		options->socket = value;
	} else if (strcmp(name, "output") == 0) {
		rc = set_word(&word, outputs, name, value, err);
		options->output = (enum output)word;
		return rc;
	} else if (strcmp(name, "color") == 0) {
		rc = set_word(&word, colours, name, value, err);
		options->colour = (enum colour)word;
		return rc;
	} else if (strcmp(name, "watch") == 0) {
		return set_watch(options, value, err);
	} else if (strcmp(name, "help") == 0) {
		options->help = true;
	} else if (strcmp(name, "version") == 0) {
		options->version = true;
	} /* else: force */
	return 0;
}

/* Is `word` this option? `value` gets what is glued to it: --name=VALUE, -nVALUE. */
static bool names(const char *word, const struct option_name *option, const char **value)
{
	size_t len = strlen(option->name);

	*value = NULL;
	if (option->letter != 0 && word[1] == option->letter) {
		*value = word[2] != '\0' ? word + 2 : NULL;
		return word[2] == '\0' || option->metavar != NULL;
	}
	if (strncmp(word, "--", 2) != 0 || strncmp(word + 2, option->name, len) != 0)
		return false;
	if (word[2 + len] == '=')
		*value = word + 2 + len + 1;
	return word[2 + len] == '\0' || word[2 + len] == '=';
}

const struct option_name *options_find(const char *word, const char **value)
{
	for (const struct option_name *o = option_names; o->name != NULL; o++)
		if (word[0] == '-' && names(word, o, value))
			return o;
	return NULL;
}

int options_take(struct options *options, char *const *argv, int *i, struct err *err)
{
	const char *value;
	const struct option_name *option = options_find(argv[*i], &value);

	if (option == NULL)
		return 0;
	if (option->metavar == NULL && value != NULL)
		return err_set(err, -EINVAL, "--%s takes no value", option->name);
	if (option->metavar != NULL && option->metavar[0] != '[' && value == NULL) {
		value = argv[*i + 1];
		if (value == NULL)
			return err_set(err, -EINVAL, "--%s needs a value: %s", option->name,
				option->metavar);
		++*i;
	}
	++*i;
	int rc = set(options, option->name, value, err);

	return rc == 0 ? 1 : rc;
}

void options_find_socket(struct options *options, char *const *argv)
{
	const char *value;

	for (int i = 0; argv[i] != NULL && strcmp(argv[i], "--") != 0; i++) {
		const struct option_name *option = options_find(argv[i], &value);

		if (option == NULL || strcmp(option->name, "socket") != 0)
			continue;
		value = value != NULL ? value : argv[i + 1];
		if (value != NULL)
			options->socket = value;
	}
}
