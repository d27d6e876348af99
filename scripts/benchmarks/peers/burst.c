// The least that any put of this many packets can cost here: a process that only exchanges datagrams. One of 64 gets a
// command on stdin, sends other processes as many datagrams as a registration does, of the same size, and waits for
// answers of the same size. No library, no cryptography: one socket, epoll, recvmmsg and sendmmsg.
//
//     burst PORT OF_THE_FIRST NODES
//
// Commands and answers as in network.py; the words after the command's id are ignored.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REGISTRARS = 23, ASKING = 203, ANSWERING = 451, BATCH = 32, SLOT = 2048 };

static char slots[BATCH][SLOT];
static struct sockaddr_in addresses[BATCH];
static struct iovec vectors[BATCH];
static struct mmsghdr messages[BATCH];

static void prepare(int index, int length) {
    vectors[index] = (struct iovec){slots[index], length};
    messages[index].msg_hdr = (struct msghdr){
        .msg_name = &addresses[index], .msg_namelen = sizeof addresses[index], .msg_iov = &vectors[index], .msg_iovlen = 1};
}

static double milliseconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e3 + time.tv_nsec * 1e-6;
}

int main(int count, char **words) {
    if (count < 4) return 64;
    const int port = atoi(words[1]), first = atoi(words[2]), nodes = atoi(words[3]);
    const int udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), poll = epoll_create1(0);
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(udp, (struct sockaddr *)&own, sizeof own) != 0) return 69;
    for (int index = 0; index < 2; index++) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = index ? udp : 0};
        epoll_ctl(poll, EPOLL_CTL_ADD, event.data.fd, &event);
    }
    printf("{\"ready\": \"127.0.0.1:%d\"}\n{\"connected\": true}\n", port);
    fflush(stdout);

    int order = 0, awaited = 0;
    double since = 0;
    for (;;) {
        struct epoll_event event;
        if (epoll_wait(poll, &event, 1, -1) < 1) continue;
        if (event.data.fd == 0) {
            char line[512];
            const ssize_t length = read(0, line, sizeof line - 1);
            if (length <= 0) return 0;
            line[length] = 0;
            if (sscanf(line, "%*s %d", &order) != 1) continue;
            since = milliseconds();
            awaited = REGISTRARS;
            for (int index = 0; index < REGISTRARS; index++) {
                prepare(index, ASKING);
                slots[index][0] = 1;
                addresses[index] = own;
                addresses[index].sin_port = htons(first + (port - first + 1 + index * 2 + rand() % 2) % nodes);
            }
            sendmmsg(udp, messages, REGISTRARS, 0);
            continue;
        }
        for (int index = 0; index < BATCH; index++) prepare(index, SLOT);
        const int arrived = recvmmsg(udp, messages, BATCH, MSG_DONTWAIT, NULL);
        int answers = 0;
        for (int index = 0; index < arrived; index++) {
            if (slots[index][0] == 1) {
                slots[index][0] = 2;
                vectors[index].iov_len = ANSWERING;
                messages[answers++] = messages[index];
            } else if (awaited > 0 && --awaited == 0) {
                printf("{\"put\": %d, \"ok\": true, \"ms\": %f}\n", order, milliseconds() - since);
                fflush(stdout);
            }
        }
        if (answers > 0) sendmmsg(udp, messages, answers, 0);
    }
}
