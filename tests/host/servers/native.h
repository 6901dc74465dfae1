/*
 * native.h - stands in for servers/lib/native.h in test_files.c: the calls that the personality's files make.
 *
 * Memory objects are the host's memfds; there is no console, no pager, no text of the kernel's.
 */
#ifndef SERVERS_NATIVE_H
#define SERVERS_NATIVE_H

#include <abi/message.h>
#include <abi/native.h>
#include <abi/pager.h>
#include <stddef.h>
#include <stdint.h>

long ipc_call(uint32_t endpoint, struct message *m, uint64_t deadline);
long handle_close(uint32_t h);
long handle_duplicate(uint32_t h, uint32_t rights, uint64_t badge);
long memory_create(uint64_t bytes);
long memory_resize(uint32_t memory, uint64_t bytes);
long memory_map(const struct memory_map *map);
long memory_unmap(uint32_t task, uint64_t addr, uint64_t bytes);
long memory_info(uint32_t memory, struct memory_info *info);
long pager_withdraw(uint32_t memory, uint64_t offset, uint64_t bytes);
long machine_info(uint32_t machine, int what, void *buf, size_t size);
long machine_log(uint32_t machine, const char *text, size_t bytes);
long machine_power(uint32_t machine, int code);
long machine_panic(uint32_t machine, const char *text, size_t bytes);
long machine_initrd(uint32_t machine, uint64_t *bytes);
long report_open(uint32_t machine, const char *path, uint32_t task, int write);
long report_read(uint32_t report, uint64_t pos, void *buf, size_t size);
long report_write(uint32_t report, const void *buf, size_t bytes);
long report_list(uint32_t machine, const char *path, uint32_t task, void *buf, size_t size);
long task_read(uint32_t task, uint64_t addr, void *to, size_t bytes);
long task_write(uint32_t task, uint64_t addr, const void *from, size_t bytes);

#endif
