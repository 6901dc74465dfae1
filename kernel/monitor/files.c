/*
 * files.c - the initrd beside /proc and /sys: listing and finding                            floor 7
 *
 * The initrd is an archive without folders of its own to open: a folder is what stands before a slash
 * in some name, and each name below it is told once.
 *
 * LOCKS     none: the initrd does not change.
 */
#include "monitor/files.h"
#include "lib/cpio.h"
#include "lib/string.h"
#include "loader.h"
#include <abi/errno.h>

#define PATH_BYTES 128

/* The path without slashes in front and at the end. */
static void trim(char *clean, const char *path)
{
	usize n;

	while (*path == '/')
		path++;
	strscpy(clean, path, PATH_BYTES);
	for (n = strlen(clean); n && clean[n - 1] == '/'; n--)
		clean[n - 1] = '\0';
}

/* What of `name` stands below the folder, or NULL. */
static const char *below(const char *name, const char *folder)
{
	usize n = strlen(folder);

	if (!n)
		return name;
	return !strncmp(name, folder, n) && name[n] == '/' ? name + n + 1 : NULL;
}

/* The archive is sorted by mkinitrd.py, so what is listed once for a folder is its neighbours' first. */
static int list_initrd(const char *folder,
	void (*fn)(void *ctx, const char *name, bool folder, u16 mode), void *ctx)
{
	char name[PATH_BYTES], last[PATH_BYTES] = "";
	struct cpio_entry entry;
	struct cpio cpio;
	int err = -ENOENT;
	usize bytes;
	const void *initrd = loader_initrd(&bytes);

	cpio_open(&cpio, initrd, bytes);
	while (bytes && cpio_next(&cpio, &entry) == CPIO_OK) {
		const char *rest = below(entry.name, folder), *slash;
		bool is_folder = (entry.mode & CPIO_KIND_MASK) == CPIO_KIND_FOLDER;

		if (!strcmp(entry.name, folder))
			err = is_folder ? 0 : -ENOTDIR;
		if (!rest || !*rest)
			continue;
		err = 0;
		slash = strchr(rest, '/');
		strscpy(name, rest,
			slash ? MIN((usize)(slash - rest) + 1, sizeof(name)) : sizeof(name));
		if (strcmp(name, last))
			fn(ctx, name, slash || is_folder, (u16)(entry.mode & 0777));
		strscpy(last, name, sizeof(last));
	}
	return err;
}

int files_list(
	const char *path, void (*fn)(void *ctx, const char *name, bool folder, u16 mode), void *ctx)
{
	char clean[PATH_BYTES];
	int err;

	trim(clean, path);
	if (!*clean) {
		err = report_list("/", NULL, fn, ctx);
		list_initrd("", fn, ctx);
		return err;
	}
	err = report_list(path, NULL, fn, ctx);
	return err == -ENOENT ? list_initrd(clean, fn, ctx) : err;
}

int files_find(const char *path, const u8 **data, usize *size)
{
	char clean[PATH_BYTES];
	struct cpio_entry entry;
	usize bytes;
	const void *initrd = loader_initrd(&bytes);

	trim(clean, path);
	if (!bytes || cpio_find(initrd, bytes, clean, &entry) != CPIO_OK)
		return -ENOENT;
	if ((entry.mode & CPIO_KIND_MASK) == CPIO_KIND_FOLDER)
		return -EISDIR;
	*data = entry.data;
	*size = entry.size;
	return 0;
}
