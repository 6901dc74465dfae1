/*
 * errno.h - the error numbers the kernel returns to ring 3, negated, as Linux x86-64 does.
 */
#ifndef ABI_ERRNO_H
#define ABI_ERRNO_H

#define EPERM        1   /* the caller lacks the right */
#define ENOENT       2   /* no such path */
#define ESRCH        3   /* no such task */
#define EINTR        4   /* a sleeping call was interrupted */
#define EIO          5   /* a device failed */
#define ENXIO        6   /* no such device or address */
#define E2BIG        7   /* argument list too long */
#define ENOEXEC      8   /* not a program this kernel can run */
#define EBADF        9   /* no such open file, or not open for this */
#define ECHILD       10  /* no child to wait for */
#define EAGAIN       11  /* try again: a transient condition */
#define ENOMEM       12  /* no memory, or no room in the address space */
#define EACCES       13  /* the mapping or file does not allow this access */
#define EFAULT       14  /* a user address could not be read or written */
#define EBUSY        16  /* in use */
#define EEXIST       17  /* MAP_FIXED_NOREPLACE found something there */
#define ENODEV       19  /* no such device */
#define ENOTDIR      20  /* a component of the path is not a folder */
#define EISDIR       21  /* a folder was given where a file is meant */
#define EINVAL       22  /* an argument makes no sense */
#define EMFILE       24  /* too many open files */
#define ENOTTY       25  /* no such ioctl here */
#define ENOSPC       28  /* no room left */
#define ESPIPE       29  /* this file cannot seek */
#define EROFS        30  /* this file is read-only */
#define EPIPE        32  /* nobody is there any more who could answer */
#define ERANGE       34  /* a number out of range */
#define ENAMETOOLONG 36  /* a path longer than the kernel reads */
#define ENOSYS       38  /* no such system call */
#define EOPNOTSUPP   95  /* this machine has not what is asked for */
#define ETIMEDOUT    110 /* the time was up */

#define MAX_ERRNO 4095 /* a result in [-MAX_ERRNO, -1] is an error */

#endif
