/* SPDX-License-Identifier: BSD-3-Clause */
/* What plugins provide to each other, by name. Runs on: the control loop. */
#include <stdlib.h>
#include <string.h>

#include <tailplane/plugin.h>

struct service {
	struct service *next;
	const void *ops; /* NULL: withdrawn */
	void (*watch)(void);
	char name[];
};

static struct service *services;

static struct service *find(const char *name)
{
	struct service *service = services;

	while (service && strcmp(service->name, name) != 0)
		service = service->next;
	return service;
}

static struct service *find_or_make(const char *name)
{
	struct service *service = find(name);

	if (service)
		return service;
	service = calloc(1, sizeof(*service) + strlen(name) + 1);
	if (!service)
		fatalx("no memory for the service \"%s\"", name);
	strcpy(service->name, name);
	service->next = services;
	services = service;
	return service;
}

void core_provide(const char *name, const void *ops)
{
	struct service *service = find_or_make(name);
	bool same = service->ops == ops;

	if (service->ops && ops)
		log_warnx("service \"%s\" is provided twice; the later one is used", name);
	service->ops = ops;
	if (!same && service->watch)
		service->watch();
}

void core_watch_service(const char *name, void (*changed)(void))
{
	find_or_make(name)->watch = changed;
}

const void *core_service(const char *name)
{
	const struct service *service = find(name);

	return service ? service->ops : NULL;
}
