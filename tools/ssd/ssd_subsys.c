// SPDX-License-Identifier: GPL-2.0-or-later
/* A subsystem: its store on disk, its namespaces, its controllers. */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ssd.h"

#define DESCRIPTION "subsystem.json"
#define DESCRIPTION_NEW "subsystem.json.new"
#define SCHEMA_VERSION 1

struct gw_ns *gw_subsys_find(struct gw_subsys *ss, const struct gw_ctrl *c, uint32_t nsid)
{
	struct gw_ns *ns;

	if (nsid == 0 || nsid > GW_SSD_NAMESPACES_MAX)
		return NULL;
	ns = ss->ns[nsid - 1];
	return ns == NULL || (c != NULL && (ns->attached >> c->index & 1) == 0) ? NULL : ns;
}

uint64_t gw_subsys_used_bytes(const struct gw_subsys *ss)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < GW_SSD_NAMESPACES_MAX; i++)
		bytes += ss->ns[i] == NULL ? 0 : ss->ns[i]->bytes;
	return bytes;
}

struct gw_ctrl *gw_subsys_controller(struct gw_subsys *ss, uint16_t cntlid)
{
	for (uint32_t i = 0; i < ss->ctrls; i++) {
		if (ss->ctrl[i]->cntlid == cntlid)
			return ss->ctrl[i];
	}
	return NULL;
}

void gw_subsys_changed(struct gw_subsys *ss, uint64_t mask, uint32_t nsid)
{
	for (uint32_t i = 0; i < ss->ctrls; i++) {
		struct gw_ctrl *c = ss->ctrl[i];

		if ((mask >> i & 1) == 0)
			continue;
		pthread_mutex_lock(&c->lock);
		c->changed_namespaces |= 1u << (nsid - 1);
		if ((c->feature.async_events & NVME_OAES_NAMESPACE) != 0)
			gw_ctrl_event_locked(c,
					     NVME_EVENT(NVME_EVENT_NOTICE,
							NVME_NOTICE_NAMESPACE_CHANGED,
							NVME_LOG_CHANGED_NAMESPACES),
					     0);
		pthread_mutex_unlock(&c->lock);
	}
}

/* ---- Namespaces --------------------------------------------------------------------------------- */

int gw_subsys_create(struct gw_subsys *ss, uint32_t nsid, uint64_t bytes, uint8_t lbads,
		     uint64_t attached, struct gw_ns **out, struct gw_diag *diag)
{
	struct gw_ns *ns = calloc(1, sizeof(*ns));
	int err;

	if (ns == NULL)
		return gw_fail(diag, -ENOMEM, "no memory for namespace %u", nsid);
	err = gw_ns_open(ns, ss->dir_fd, nsid, bytes, lbads, ss->config.cache_bytes, diag);
	if (err < 0) {
		free(ns);
		return err;
	}
	if (getrandom(ns->nguid, sizeof(ns->nguid), 0) != sizeof(ns->nguid))
		memset(ns->nguid, (int)nsid, sizeof(ns->nguid));
	ns->record = &ss->record;
	ns->attached = attached;
	ss->ns[nsid - 1] = ns;
	*out = ns;
	return 0;
}

void gw_subsys_delete(struct gw_subsys *ss, uint32_t nsid)
{
	struct gw_ns *ns = ss->ns[nsid - 1];

	ss->ns[nsid - 1] = NULL;
	gw_record_add(&ss->record, (struct gw_change){ .nsid = nsid, .count = ns->blocks,
						       .kind = GW_CHANGE_DELETED });
	gw_ns_close(ns);
	gw_ns_unlink(ss->dir_fd, nsid);
	free(ns);
}

/* ---- The description ------------------------------------------------------------------------------- */

static void describe_identity(struct json_object *o, const char *key, const uint8_t *id, size_t bytes)
{
	char text[33];

	for (size_t i = 0; i < bytes; i++)
		snprintf(text + 2 * i, 3, "%02x", id[i]);
	json_object_object_add(o, key, json_object_new_string(text));
}

static struct json_object *describe(const struct gw_ns *ns)
{
	struct json_object *o = json_object_new_object();
	json_object_object_add(o, "nsid", json_object_new_int64(ns->nsid));
	json_object_object_add(o, "size_bytes", json_object_new_int64((int64_t)ns->bytes));
	json_object_object_add(o, "block_bytes", json_object_new_int64(1 << ns->lbads));
	describe_identity(o, "nguid", ns->nguid, sizeof(ns->nguid));
	describe_identity(o, "eui64", ns->eui64, sizeof(ns->eui64));
	describe_identity(o, "uuid", ns->uuid, sizeof(ns->uuid));
	json_object_object_add(o, "attached", json_object_new_uint64(ns->attached));
	return o;
}

static int write_file(int dir_fd, const char *text)
{
	const size_t bytes = strlen(text);
	int fd = openat(dir_fd, DESCRIPTION_NEW, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, bytes) != (ssize_t)bytes)
		err = -EIO;
	if (fsync(fd) < 0 && err == 0)
		err = -errno;
	close(fd);
	if (err == 0 && renameat(dir_fd, DESCRIPTION_NEW, dir_fd, DESCRIPTION) < 0)
		err = -errno;
	return err;
}

/* One for each that is saved. */
static void describe_features(const struct gw_subsys *ss, struct json_object *list)
{
	for (uint32_t i = 0; i < GW_SSD_CONTROLLERS_MAX; i++) {
		for (uint32_t fid = 0; fid < GW_SSD_SAVED_FIDS; fid++) {
			struct json_object *o;

			if ((ss->saved[i].mask >> fid & 1) == 0)
				continue;
			o = json_object_new_object();
			json_object_object_add(o, "controller", json_object_new_int64(i + 1));
			json_object_object_add(o, "fid", json_object_new_int64(fid));
			json_object_object_add(o, "value", json_object_new_int64(ss->saved[i].value[fid]));
			json_object_array_add(list, o);
		}
	}
}

int gw_subsys_save(struct gw_subsys *ss, struct gw_diag *diag)
{
	struct json_object *root = json_object_new_object();
	struct json_object *list = json_object_new_array(), *features = json_object_new_array();
	int err;

	json_object_object_add(root, "schema_version", json_object_new_int(SCHEMA_VERSION));
	for (uint32_t i = 0; i < GW_SSD_NAMESPACES_MAX; i++) {
		if (ss->ns[i] != NULL)
			json_object_array_add(list, describe(ss->ns[i]));
	}
	json_object_object_add(root, "namespaces", list);
	describe_features(ss, features);
	json_object_object_add(root, "saved_features", features);
	err = write_file(ss->dir_fd, json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY));
	json_object_put(root);
	if (err < 0)
		return gw_fail(diag, err, "cannot write %s: %s", DESCRIPTION, strerror(-err));
	return 0;
}

static uint64_t number(struct json_object *o, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(o, key, &value) ? json_object_get_uint64(value) : 0;
}

static void load_identity(struct json_object *o, const char *key, uint8_t *id, size_t bytes)
{
	struct json_object *value;

	if (!json_object_object_get_ex(o, key, &value) ||
	    json_object_get_string_len(value) != (int)(2 * bytes))
		return;
	for (size_t i = 0; i < bytes; i++)
		sscanf(json_object_get_string(value) + 2 * i, "%2hhx", &id[i]);
}

static void name_one(uint8_t *id, const uint8_t *configured, size_t bytes)
{
	static const uint8_t none[16];

	if (memcmp(configured, none, bytes) != 0)
		memcpy(id, configured, bytes);
}

/* What the configuration says of its identity holds, whatever is stored. */
static void name(struct gw_ns *ns, const struct gw_ssd_ns_config *config)
{
	name_one(ns->nguid, config->nguid, sizeof(ns->nguid));
	name_one(ns->eui64, config->eui64, sizeof(ns->eui64));
	name_one(ns->uuid, config->uuid, sizeof(ns->uuid));
}

static int load_one(struct gw_subsys *ss, struct json_object *o, struct gw_diag *diag)
{
	const uint64_t nsid = number(o, "nsid"), block = number(o, "block_bytes");
	struct gw_ns *ns;
	int err;

	if (nsid > ss->config.limits.namespaces && nsid <= GW_SSD_NAMESPACES_MAX)
		return gw_fail(diag, -EINVAL, "namespace %u is there, and namespaces=%u is less: raise it",
			       (unsigned int)nsid, ss->config.limits.namespaces);
	if (nsid == 0 || nsid > GW_SSD_NAMESPACES_MAX || ss->ns[nsid - 1] != NULL ||
	    (block != 512 && block != 4096))
		return gw_fail(diag, -EINVAL, "%s: namespace %llu makes no sense: numbers are 1 to %u, each "
					      "once, and blocks 512 or 4096 bytes", DESCRIPTION,
			       (unsigned long long)nsid, GW_SSD_NAMESPACES_MAX);
	err = gw_subsys_create(ss, (uint32_t)nsid, number(o, "size_bytes"),
			       block == 512 ? GW_NS_LBADS_MIN : GW_NS_LBADS_MAX,
			       number(o, "attached"), &ns, diag);
	if (err < 0)
		return err;
	load_identity(o, "nguid", ns->nguid, sizeof(ns->nguid));
	load_identity(o, "eui64", ns->eui64, sizeof(ns->eui64));
	load_identity(o, "uuid", ns->uuid, sizeof(ns->uuid));
	name(ns, &ss->config.ns[nsid - 1]);
	return 0;
}

static int load_feature(struct gw_subsys *ss, struct json_object *o, struct gw_diag *diag)
{
	const uint64_t controller = number(o, "controller"), fid = number(o, "fid"), value = number(o, "value");
	struct gw_saved_features *saved;

	if (controller < 1 || controller > GW_SSD_CONTROLLERS_MAX || fid >= GW_SSD_SAVED_FIDS ||
	    !gw_features_can_save((uint32_t)fid) || value > UINT32_MAX)
		return gw_fail(diag, -EINVAL, "%s: a saved feature that makes no sense", DESCRIPTION);
	saved = &ss->saved[controller - 1];
	saved->mask |= 1u << fid;
	saved->value[fid] = (uint32_t)value;
	return 0;
}

/* Return: 0 or negative errno, said, but for -ENOENT: there is no description yet. */
static int load(struct gw_subsys *ss, struct gw_diag *diag)
{
	const int fd = openat(ss->dir_fd, DESCRIPTION, O_RDONLY | O_CLOEXEC);
	struct json_object *root, *list = NULL, *features = NULL;
	int err = 0;

	if (fd < 0)
		return errno == ENOENT ? -ENOENT : gw_fail(diag, -errno, "cannot open %s: %s",
							   DESCRIPTION, strerror(errno));
	root = json_object_from_fd(fd);
	close(fd);
	if (root == NULL || number(root, "schema_version") != SCHEMA_VERSION ||
	    !json_object_object_get_ex(root, "namespaces", &list) ||
	    !json_object_is_type(list, json_type_array))
		err = gw_fail(diag, -EINVAL, "%s is no description of a subsystem", DESCRIPTION);
	for (size_t i = 0; err == 0 && i < json_object_array_length(list); i++)
		err = load_one(ss, json_object_array_get_idx(list, i), diag);
	/* Not in those of older versions. */
	if (err == 0 && json_object_object_get_ex(root, "saved_features", &features) &&
	    !json_object_is_type(features, json_type_array))
		err = gw_fail(diag, -EINVAL, "%s is no description of a subsystem", DESCRIPTION);
	for (size_t i = 0; err == 0 && features != NULL && i < json_object_array_length(features); i++)
		err = load_feature(ss, json_object_array_get_idx(features, i), diag);
	json_object_put(root);
	return err;
}

/* The namespaces that the configuration names, or a first one. */
static int make_store(struct gw_subsys *ss, struct gw_diag *diag)
{
	uint32_t made = 0;
	int err = 0;

	for (uint32_t i = 0; err == 0 && i < GW_SSD_NAMESPACES_MAX; i++) {
		const struct gw_ssd_ns_config *config = &ss->config.ns[i];
		struct gw_ns *ns;

		if (!config->is_there)
			continue;
		if (i >= ss->config.limits.namespaces)
			return gw_fail(diag, -EINVAL, "namespace %u is configured, and namespaces=%u is less: "
						      "raise it", i + 1, ss->config.limits.namespaces);
		err = gw_subsys_create(ss, i + 1,
				       config->bytes != 0 ? config->bytes : ss->config.namespace_bytes,
				       config->lbads != 0 ? config->lbads : ss->config.lbads, UINT64_MAX,
				       &ns, diag);
		if (err == 0)
			name(ns, config);
		made++;
	}
	if (made == 0) {
		struct gw_ns *ns;

		err = gw_subsys_create(ss, 1, ss->config.namespace_bytes, ss->config.lbads, UINT64_MAX, &ns,
				       diag);
	}
	return err < 0 ? err : gw_subsys_save(ss, diag);
}

/* Two processes would write to the same blocks, each with a cache of its own. */
static int lock_store(const struct gw_subsys *ss, const char *dir, struct gw_diag *diag)
{
	if (flock(ss->dir_fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
		return 0;		/* or its file system has no locks */
	return gw_fail(diag, -EBUSY, "%s is in use: another subsystem, of this process or another one, "
				     "has its data there", dir);
}

static int open_store(struct gw_subsys *ss, const char *dir, struct gw_diag *diag)
{
	struct gw_diag why = { 0 };
	int err;

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return gw_fail(diag, -errno, "cannot make %s: %s", dir, strerror(errno));
	ss->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ss->dir_fd < 0)
		return gw_fail(diag, -errno, "cannot open %s: %s", dir, strerror(errno));
	err = lock_store(ss, dir, diag);
	if (err < 0)
		return err;
	err = load(ss, &why);
	if (err == -ENOENT && !why.failed)
		err = make_store(ss, &why);
	return err < 0 ? gw_fail(diag, err, "%s: %s", dir, why.text) : 0;
}

static int open_record(struct gw_subsys *ss, struct gw_diag *diag)
{
	const char *path = ss->config.record;

	if (path[0] == '\0')
		return 0;
	ss->record.file = fopen(path, "we");
	return ss->record.file != NULL ? 0 : gw_fail(diag, -errno, "cannot write %s: %s", path,
						     strerror(errno));
}

int gw_subsys_open(struct gw_subsys *ss, const char *dir, const struct gw_ssd_config *config,
		   struct gw_diag *diag)
{
	pthread_rwlockattr_t fair;
	int err;

	memset(ss, 0, sizeof(*ss));
	ss->config = *config;
	ss->dir_fd = -1;
	/* Else two controllers that are never idle would keep a Format waiting for ever. */
	pthread_rwlockattr_init(&fair);
	pthread_rwlockattr_setkind_np(&fair, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&ss->ns_lock, &fair);
	pthread_rwlockattr_destroy(&fair);
	pthread_mutex_init(&ss->lm_lock, NULL);
	err = gw_record_init(&ss->record);
	if (err < 0)
		gw_fail(diag, err, "no memory for the record of changes");
	if (err == 0)
		err = open_store(ss, dir, diag);
	if (err == 0 && gw_subsys_used_bytes(ss) > ss->config.capacity_bytes)
		err = gw_fail(diag, -ENOSPC, "the namespaces in %s are more than the capacity of %llu bytes",
			      dir, (unsigned long long)ss->config.capacity_bytes);
	/* Last: an old one is not lost to a start that fails. */
	if (err == 0)
		err = open_record(ss, diag);
	if (err < 0)
		gw_subsys_close(ss);
	return err;
}

int gw_subsys_close(struct gw_subsys *ss)
{
	int err = 0;

	for (uint32_t i = 0; i < ss->ctrls; i++)
		gw_ctrl_stop(ss->ctrl[i]);
	gw_track_stop_of(ss, NULL);
	for (uint32_t i = 0; i < ss->ctrls; i++) {
		gw_cdq_delete_of(ss->ctrl[i]);
		gw_ctrl_destroy(ss->ctrl[i]);
	}
	for (uint32_t i = 0; i < GW_SSD_NAMESPACES_MAX; i++) {
		const int closed = ss->ns[i] == NULL ? 0 : gw_ns_close(ss->ns[i]);

		err = err < 0 ? err : closed;
		free(ss->ns[i]);
	}
	if (ss->dir_fd >= 0)
		close(ss->dir_fd);
	gw_record_fini(&ss->record);
	pthread_mutex_destroy(&ss->lm_lock);
	pthread_rwlock_destroy(&ss->ns_lock);
	memset(ss, 0, sizeof(*ss));
	ss->dir_fd = -1;
	return err;
}

/* The caches first: what a controller still does to a namespace goes through its lock. */
uint64_t gw_subsys_power_cut(struct gw_subsys *ss, uint64_t torn_seed)
{
	uint64_t lost = 0;

	pthread_rwlock_rdlock(&ss->ns_lock);
	for (uint32_t i = 0; i < GW_SSD_NAMESPACES_MAX; i++) {
		if (ss->ns[i] == NULL)
			continue;
		pthread_mutex_lock(&ss->ns[i]->lock);
		lost += gw_ns_power_cut(ss->ns[i], torn_seed);
		pthread_mutex_unlock(&ss->ns[i]->lock);
	}
	pthread_rwlock_unlock(&ss->ns_lock);
	return lost;
}
