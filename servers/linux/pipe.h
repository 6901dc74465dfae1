/*
 * pipe.h - pipes and fifos.                                                                       ring 3
 */
#ifndef PIPE_H
#define PIPE_H

#define PIPE_SIZE   65536u
#define PIPE_ATOMIC 4096u /* PIPE_BUF: so many bytes are written together or not at all */

struct call;
struct file;
struct inode;
struct pipe;

struct inode *pipe_new(void);      /* an inode of its own, without a name. NULL: no memory */
void pipe_free(struct pipe *pipe); /* NULL: a fifo that was never opened */

/* 0 and an open end of it (by O_ACCMODE); CALL_WAIT until somebody opens the other; -ENXIO, -ENOMEM. c NULL: never waits */
long pipe_open(struct call *c, struct inode *inode, unsigned flags, struct file **file);

#endif
