/*
 * Test only, for LD_PRELOAD: a dma-heap made of memfds.
 *
 * libcamera's virtual camera and Picamera2 both take their buffers from a dma-heap, which many
 * kernels outside a Pi are built without. Opening a heap opens /dev/null instead, an allocation
 * returns a memfd, and the cache synchronisation of a dma-buf does nothing.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *heap_or_itself(const char *path)
{
    static const char prefix[] = "/dev/dma_heap/";

    return path && !strncmp(path, prefix, sizeof(prefix) - 1) ? "/dev/null" : path;
}

static int next_open(const char *name, const char *path, int flags, mode_t mode)
{
    int (*next)(const char *, int, ...) = dlsym(RTLD_NEXT, name);

    return next(heap_or_itself(path), flags, mode);
}

#define DEFINE_OPEN(name)                                                                        \
    int name(const char *path, int flags, ...)                                                   \
    {                                                                                            \
        mode_t mode = 0;                                                                         \
        if (flags & (O_CREAT | __O_TMPFILE)) {                                                   \
            va_list rest;                                                                        \
            va_start(rest, flags);                                                               \
            mode = va_arg(rest, mode_t);                                                         \
            va_end(rest);                                                                        \
        }                                                                                        \
        return next_open(#name, path, flags, mode);                                              \
    }

DEFINE_OPEN(open)
DEFINE_OPEN(open64)

static int allocate(struct dma_heap_allocation_data *wanted)
{
    int memory = memfd_create("dma-heap", MFD_CLOEXEC);

    if (memory < 0)
        return -1;
    if (ftruncate(memory, (wanted->len + 4095) & ~4095ULL) < 0) {
        close(memory);
        return -1;
    }
    wanted->fd = memory;
    return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
    int (*next)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
    va_list rest;
    void *argument;

    va_start(rest, request);
    argument = va_arg(rest, void *);
    va_end(rest);
    request &= 0xffffffffUL; /* Python hands a negative int over for requests that read */
    if (request == DMA_HEAP_IOCTL_ALLOC)
        return allocate(argument);
    if (request == DMA_BUF_IOCTL_SYNC || request == (unsigned int)DMA_BUF_SET_NAME_A ||
        request == (unsigned int)DMA_BUF_SET_NAME_B)
        return 0;
    return next(fd, request, argument);
}
