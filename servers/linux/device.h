/*
 * device.h - the files in /dev.                                                                   ring 3
 */
#ifndef DEVICE_H
#define DEVICE_H

#include <stddef.h>
#include <stdint.h>

struct device_node {
	const char *path; /* below the root */
	uint32_t mode;
	uint64_t rdev;
};
extern const struct device_node device_nodes[];
extern const size_t nr_device_nodes;

struct file_ops;
extern const struct file_ops null_ops, zero_ops, full_ops, random_ops, kmsg_ops, tty_ops;

/* What a device number is; NULL: nothing (ENXIO). */
const struct file_ops *device_find(uint64_t rdev);

#endif
