/* Send ARP requests at a rate that Python cannot reach; print what was reached.
 *
 *     flood INTERFACE PACKETS_PER_SECOND SECONDS SHA SPA TPA [spa] [tpa]
 *
 * A first line, empty, is printed when the first thousand packets are sent.
 * SHA, SPA and TPA are hexadecimal.  With "spa" each request has another sender (its
 * hardware address, too), with "tpa" another target, both below 10.0.0.0/8.
 */
#define _GNU_SOURCE
#include <net/if.h>
#include <linux/if_packet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH 64
#define LENGTH 60
#define CATCH_UP 0.05 /* seconds of a pause that are made up for */

static uint8_t frames[BATCH][LENGTH];
static struct iovec parts[BATCH];
static struct mmsghdr messages[BATCH];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static uint32_t chance(void)
{
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

static void hex(uint8_t *to, const char *text, int octets)
{
    for (int i = 0; i < octets; i++) {
        unsigned value = 0;
        sscanf(text + 2 * i, "%2x", &value);
        to[i] = value;
    }
}

static void other(uint8_t *frame, int sender, int target)
{
    uint32_t r;
    if (sender) {
        r = chance();
        memcpy(frame + 8, &r, 3); /* in eth_src and ar$sha */
        memcpy(frame + 24, &r, 3);
        frame[28] = 10;
        memcpy(frame + 29, &r, 3);
    }
    if (target) {
        r = chance() | 0x40; /* none of 10.0.0.0/10 */
        frame[38] = 10;
        memcpy(frame + 39, &r, 3);
    }
}

int main(int argc, char **argv)
{
    if (argc < 7)
        return 2;
    double rate = atof(argv[2]), seconds = atof(argv[3]);
    int sender = 0, target = 0, one = 1, is_told = 0;
    for (int i = 7; i < argc; i++) {
        sender |= !strcmp(argv[i], "spa");
        target |= !strcmp(argv[i], "tpa");
    }
    uint8_t frame[LENGTH] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 8, 6,
        0, 1, 8, 0, 6, 4, 0, 1,
    };
    hex(frame + 6, argv[4], 6);
    hex(frame + 22, argv[4], 6);
    hex(frame + 28, argv[5], 4);
    hex(frame + 38, argv[6], 4);
    for (int i = 0; i < BATCH; i++) {
        memcpy(frames[i], frame, LENGTH);
        parts[i] = (struct iovec){frames[i], LENGTH};
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    int s = socket(AF_PACKET, SOCK_RAW, 0);
    struct sockaddr_ll at = {
        .sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(argv[1])};
    if (s < 0 || bind(s, (struct sockaddr *)&at, sizeof at)) {
        perror(argv[1]);
        return 1;
    }
    setsockopt(s, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
    double began = now(), passed;
    uint64_t due, sent = 0, really = 0;
    while ((passed = now() - began) < seconds) {
        due = passed * rate;
        if (due < sent + BATCH) {
            struct timespec little = {0, 50000};
            nanosleep(&little, NULL);
            continue;
        }
        if (due - sent > CATCH_UP * rate)
            sent = due - CATCH_UP * rate;
        for (int i = 0; i < BATCH; i++)
            other(frames[i], sender, target);
        int n = sendmmsg(s, messages, BATCH, 0);
        if (n > 0) {
            sent += n;
            really += n;
            if (really >= 1000 && !is_told) {
                is_told = 1;
                puts("");
                fflush(stdout);
            }
        }
    }
    printf("%.0f\n", really / (now() - began));
    return 0;
}
