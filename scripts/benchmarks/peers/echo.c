/* A bare echo on libuv: the cost of a datagram without any work on it. Prints its port.
 *
 * As fast as libuv alone can be: recvmmsg, and uv_udp_try_send, which needs no request object per answer. */
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

static char memory[20 * 64 * 1024];

static void give(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer) {
    (void)handle, (void)wanted;
    *buffer = uv_buf_init(memory, sizeof memory);
}

static void received(uv_udp_t *socket, ssize_t count, const uv_buf_t *buffer, const struct sockaddr *from, unsigned flags) {
    (void)flags;
    if (count <= 0 || from == NULL) return;
    uv_buf_t answer = uv_buf_init(buffer->base, (unsigned)count);
    uv_udp_try_send(socket, &answer, 1, from);
}

/* Ends when the parent's end of stdin is closed. */
static void input(uv_poll_t *poll, int status, int events) {
    char byte;
    (void)poll, (void)status, (void)events;
    if (fread(&byte, 1, 1, stdin) == 0) exit(0);
}

int main(void) {
    uv_loop_t *loop = uv_default_loop();
    uv_udp_t socket;
    uv_poll_t poll;
    struct sockaddr_in address;
    int length = sizeof address, bytes = 4 << 20;
    uv_ip4_addr("127.0.0.1", 0, &address);
    if (uv_udp_init_ex(loop, &socket, AF_INET | UV_UDP_RECVMMSG) != 0 ||
        uv_udp_bind(&socket, (struct sockaddr *)&address, 0) != 0 ||
        uv_udp_recv_start(&socket, give, received) != 0)
        return 1;
    uv_recv_buffer_size((uv_handle_t *)&socket, &bytes);
    bytes = 4 << 20;
    uv_send_buffer_size((uv_handle_t *)&socket, &bytes);
    uv_udp_getsockname(&socket, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    uv_poll_init(loop, &poll, 0);
    uv_poll_start(&poll, UV_READABLE, input);
    return uv_run(loop, UV_RUN_DEFAULT);
}
