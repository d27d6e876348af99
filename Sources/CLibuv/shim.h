#pragma once
#include <pthread.h>
#include <sys/socket.h>
#include <uv.h>

// GNU functions that Swift's Glibc module hides (it is built without _GNU_SOURCE), under names of our own.

/// struct mmsghdr of sendmmsg(2).
struct cuv_message {
    struct msghdr header;
    unsigned int length;
};

extern int cuv_sendmmsg(int descriptor, struct cuv_message *messages, unsigned int count, int flags)
    __asm__("sendmmsg");
extern int cuv_recvmmsg(int descriptor, struct cuv_message *messages, unsigned int count, int flags,
                        struct timespec *timeout) __asm__("recvmmsg");
extern int cuv_thread_name(pthread_t thread, const char *name) __asm__("pthread_setname_np");
extern int cuv_malloc_trim(size_t pad) __asm__("malloc_trim");
