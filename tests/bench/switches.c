/* Switches that speak OpenFlow 1.3, send packet-ins and check every answer, octet by
 * octet; print what was reached as one line of JSON.
 *
 *     switches PLACE LOAD ANSWER SWITCHES HOSTS WINDOW SECONDS COOKIE [full] [VLAN]
 *
 * PLACE    a TCP port of 127.0.0.1, or the path of a unix socket
 * LOAD     arp: who has a host that is known?  A closed loop of WINDOW questions each;
 *          pairs: the first packet of each pair of hosts, until each has its flow;
 *          hosts: the first packet of each host, until each has its flow
 * ANSWER   reply: an ARP reply, out of the port of who asks;
 *          flood: the question itself, out of all other ports;
 *          buffer: the same, where the switch keeps what it tells of
 * HOSTS    at each switch, a multiple of WINDOW, each behind a port of its own
 * SECONDS  of an arp load, after all have been answered once
 * COOKIE   hexadecimal, of the flow that tells the controller
 * full     the switch has no room: it refuses each bundle of flows, and then is too busy
 *          to say what it has, so that it is not asked to take them again
 * VLAN     that first packets of hosts are tagged with, by a flow of the controller's
 *
 * Messages by OpenFlow 1.3.5; bundles by its extension 230.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SWITCHES_MAX 64
#define HOSTS_MAX 1000 /* and as many ports, which one message can list */
#define SAMPLES_MAX (1 << 22)
#define PATIENCE 60.0 /* seconds until something must have been answered */
#define AGAIN 1.0     /* seconds of silence until what was not answered is asked again */
#define LOST 0.2      /* the same, while it is measured; then it counts as lost */
#define SETTLES 0.5   /* seconds of silence until a controller has nothing more to say */
#define ARP_LENGTH 42
#define UDP_LENGTH 60
#define NO_BUFFER 0xffffffffu
#define FLOOD 0xfffffffbu
#define ALL 0xfffffffcu
#define IN_PORT 0xfffffff8u

enum { HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, EXPERIMENTER, FEATURES_REQUEST,
       FEATURES_REPLY, GET_CONFIG_REQUEST, GET_CONFIG_REPLY, PACKET_IN = 10,
       PACKET_OUT = 13, FLOW_MOD = 14, MULTIPART_REQUEST = 18, MULTIPART_REPLY,
       BARRIER_REQUEST, BARRIER_REPLY, ROLE_REQUEST = 24, ROLE_REPLY };

struct buffer { uint8_t *octets; size_t start, length, room; };

struct at_switch {
    int fd, is_ready, has_refused;
    uint32_t number, flows;
    struct buffer in, out;
    double asked[HOSTS_MAX];      /* when; 0: nothing is open */
    uint16_t target[HOSTS_MAX];   /* of the question that is open */
    uint16_t again[HOSTS_MAX];    /* how often its last questions were repeated */
    uint16_t offset[HOSTS_MAX];   /* to the target of the last pair */
    uint8_t is_known[HOSTS_MAX];  /* answered as a target, or has its flow */
    uint8_t *has_flow;            /* of each pair */
    int known, next;
};

static struct at_switch switches[SWITCHES_MAX];
static int switch_count, hosts, window, is_full, is_pairs, is_hosts, is_flood,
    has_buffers, vlan;
static uint64_t cookie;
static uint64_t answered, wrong, unmatched, lost, flow_mods;
static uint32_t samples[SAMPLES_MAX];
static size_t sample_count;
static int is_measuring;
static double heard; /* when a controller said something for the last time */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *why)
{
    fprintf(stderr, "switches: %s\n", why);
    exit(1);
}

static uint32_t chance(void)
{
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

/* --- octets ------------------------------------------------------------------------ */

static void put16(uint8_t *at, uint16_t value)
{
    value = htons(value);
    memcpy(at, &value, 2);
}

static void put32(uint8_t *at, uint32_t value)
{
    value = htonl(value);
    memcpy(at, &value, 4);
}

static uint16_t get16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, 2);
    return ntohs(value);
}

static uint32_t get32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, 4);
    return ntohl(value);
}

static uint8_t *room(struct buffer *buffer, size_t more)
{
    if (buffer->length + more > buffer->room) {
        memmove(buffer->octets, buffer->octets + buffer->start,
                buffer->length - buffer->start);
        buffer->length -= buffer->start;
        buffer->start = 0;
        while (buffer->length + more > buffer->room)
            buffer->room = buffer->room ? 2 * buffer->room : 1 << 18;
        buffer->octets = realloc(buffer->octets, buffer->room);
        if (!buffer->octets)
            fail("no memory");
    }
    return buffer->octets + buffer->length;
}

/* A message with an empty body of that many octets, which is returned. */
static uint8_t *message(struct at_switch *s, int kind, uint32_t xid, size_t body)
{
    uint8_t *at = room(&s->out, 8 + body);
    memset(at, 0, 8 + body);
    at[0] = 4;
    at[1] = kind;
    put16(at + 2, 8 + body);
    put32(at + 4, xid);
    s->out.length += 8 + body;
    return at + 8;
}

static void flush(struct at_switch *s)
{
    while (s->out.start < s->out.length) {
        ssize_t sent = send(s->fd, s->out.octets + s->out.start,
                            s->out.length - s->out.start, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (sent <= 0)
            fail("the controller has closed a channel");
        s->out.start += sent;
    }
    s->out.start = s->out.length = 0;
}

/* --- hosts ------------------------------------------------------------------------- */

static uint32_t port_of(int host) { return 1 + host; }

static void lladdr(uint8_t *at, const struct at_switch *s, int host)
{
    at[0] = 2;
    at[1] = 0;
    at[2] = s->number;
    at[3] = 0;
    put16(at + 4, host + 1);
}

static void ip(uint8_t *at, int host)
{
    at[0] = 10;
    at[1] = 0;
    put16(at + 2, host + 1);
}

/* Which host has this address at this switch?  -1 if none. */
static int host_of(const struct at_switch *s, const uint8_t *address)
{
    uint8_t known[6];
    int host = get16(address + 4) - 1;
    if (host < 0 || host >= hosts)
        return -1;
    lladdr(known, s, host);
    return memcmp(known, address, 6) ? -1 : host;
}

static void arp(uint8_t *at, const struct at_switch *s, int op, int from, int to,
                int spa, int tpa)
{
    static const uint8_t head[] = {8, 6, 0, 1, 8, 0, 6, 4, 0};
    memset(at, 0xff, 6);
    if (to >= 0)
        lladdr(at, s, to);
    lladdr(at + 6, s, from);
    memcpy(at + 12, head, sizeof head);
    at[21] = op;
    lladdr(at + 22, s, from);
    ip(at + 28, spa);
    memset(at + 32, 0, 6);
    if (to >= 0)
        lladdr(at + 32, s, to);
    ip(at + 38, tpa);
}

static uint8_t *packet_in(struct at_switch *s, int host, size_t length)
{
    uint8_t *at = message(s, PACKET_IN, 0, 34 + length);
    put32(at, has_buffers ? (uint32_t)host + 1 : NO_BUFFER);
    put16(at + 4, length);
    at[6] = cookie != 0; /* OFPR_ACTION; by a table-miss OFPR_NO_MATCH */
    put32(at + 8, cookie >> 32);
    put32(at + 12, cookie);
    put16(at + 16, 1); /* OFPMT_OXM */
    put16(at + 18, 12);
    put32(at + 20, 0x80000004); /* OXM_OF_IN_PORT */
    put32(at + 24, port_of(host));
    return at + 34;
}

static void announce(struct at_switch *s, int host)
{
    arp(packet_in(s, host, ARP_LENGTH), s, 1, host, -1, host, host);
}

static void ask(struct at_switch *s, int host, int target)
{
    arp(packet_in(s, host, ARP_LENGTH), s, 1, host, -1, host, target);
    s->asked[host] = now();
    s->target[host] = target;
}

static void first_packet(struct at_switch *s, int host, int target)
{
    uint8_t *at = packet_in(s, host, UDP_LENGTH + (vlan ? 4 : 0));
    lladdr(at, s, target);
    lladdr(at + 6, s, host);
    if (vlan) {
        at[12] = 0x81;
        put16(at + 14, vlan);
        at += 4; /* of the rest */
    }
    at[12] = 8;
    at[14] = 0x45;
    at[17] = 46;
    at[22] = 64;
    at[23] = 17;
    ip(at + 26, host);
    ip(at + 30, target);
    put16(at + 34, 1000);
    put16(at + 36, 2000);
    put16(at + 38, 26);
    uint32_t sum = 0;
    for (int i = 14; i < 34; i += 2)
        sum += get16(at + i);
    sum = (sum & 0xffff) + (sum >> 16);
    put16(at + 24, ~(sum + (sum >> 16)));
    s->asked[host] = now();
    s->target[host] = target;
}

/* --- loads ------------------------------------------------------------------------- */

static void next_question(struct at_switch *s, int slot)
{
    int asker = slot + window * (chance() % (hosts / window));
    int target = (asker + 1 + chance() % (hosts - 1)) % hosts;
    ask(s, asker, target);
}

/* The next one of this host, or of the next host of its slot. */
static void next_pair(struct at_switch *s, int from)
{
    if (s->offset[from] == hosts - 1)
        from += window;
    if (from < hosts) {
        s->offset[from]++;
        first_packet(s, from, (from + s->offset[from]) % hosts);
    }
}

static void next_host(struct at_switch *s)
{
    if (s->next < hosts) {
        int host = s->next++;
        first_packet(s, host, (host + 1) % hosts);
    }
}

static void done(struct at_switch *s, int host)
{
    double took = now() - s->asked[host];
    if (is_measuring && sample_count < SAMPLES_MAX)
        samples[sample_count++] = took * 1e9 > 4e9 ? 4000000000u : took * 1e9;
    answered += is_measuring;
    s->asked[host] = 0;
}

static void ask_on(struct at_switch *s, int host)
{
    if (is_measuring)
        next_question(s, host % window);
    else if (!s->is_known[s->target[host]]) {
        s->is_known[s->target[host]] = 1;
        s->known++;
    }
}

/* --- what the controller says ------------------------------------------------------ */

static void reply_came(struct at_switch *s, uint32_t in_port, uint32_t out,
                       const uint8_t *data, size_t length)
{
    uint8_t expected[ARP_LENGTH];
    int host = host_of(s, data);
    if (host < 0) {
        wrong++;
        return;
    }
    if (out == IN_PORT)
        out = in_port;
    int is_sound = length >= ARP_LENGTH && out == port_of(host);
    for (size_t i = ARP_LENGTH; is_sound && i < length; i++)
        is_sound = data[i] == 0;
    arp(expected, s, 2, s->target[host], host, s->target[host], host);
    int is_right = is_sound && !memcmp(expected, data, ARP_LENGTH);
    int target = host_of(s, data + 22);
    if (target >= 0 && s->again[host] && (s->asked[host] == 0 || !is_right)) {
        arp(expected, s, 2, target, host, target, host);
        if (is_sound && !memcmp(expected, data, ARP_LENGTH)) {
            s->again[host]--; /* the answer to what was asked twice */
            return;
        }
    }
    if (s->asked[host] == 0) {
        unmatched++;
        return;
    }
    wrong += !is_right;
    done(s, host);
    ask_on(s, host);
}

static void flood_came(struct at_switch *s, uint32_t out, const uint8_t *data,
                       size_t length)
{
    uint8_t expected[ARP_LENGTH];
    int host = host_of(s, data + 6);
    if (host < 0 || s->asked[host] == 0 || !memcmp(data + 28, data + 38, 4))
        return; /* of an announcement */
    arp(expected, s, 1, host, -1, host, s->target[host]);
    int target = get16(data + 40) - 1; /* of its address */
    if (s->again[host] && memcmp(expected, data, ARP_LENGTH)) {
        arp(expected, s, 1, host, -1, host, target);
        if (!memcmp(expected, data, ARP_LENGTH)) {
            s->again[host]--;
            return;
        }
    }
    wrong += length != ARP_LENGTH || (out != FLOOD && out != ALL) ||
             memcmp(expected, data, ARP_LENGTH);
    done(s, host);
    ask_on(s, host);
}

/* The question that was kept. */
static void release_came(struct at_switch *s, uint32_t buffer, uint32_t out)
{
    int host = (int)buffer - 1;
    if (host < 0 || host >= hosts || s->asked[host] == 0)
        return; /* of an announcement */
    wrong += out != FLOOD && out != ALL;
    done(s, host);
    ask_on(s, host);
}

static void packet_out(struct at_switch *s, const uint8_t *m, size_t length)
{
    size_t actions = get16(m + 16);
    const uint8_t *data = m + 24 + actions;
    if (has_buffers && actions >= 16 && get16(m + 24) == 0)
        release_came(s, get32(m + 8), get32(m + 28));
    if (24 + actions + ARP_LENGTH > length || actions < 16 || get16(m + 24) != 0)
        return; /* releases nothing that was asked */
    uint32_t out = get32(m + 28);
    if (get16(data + 12) != 0x0806)
        return;
    if (is_flood)
        flood_came(s, out, data, length - 24 - actions);
    else if (data[21] == 2)
        reply_came(s, get32(m + 12), out, data, length - 24 - actions);
}

/* A flow to one station: where does it send, and whom does it concern? */
static void flow_mod(struct at_switch *s, const uint8_t *m, size_t length)
{
    int from = -1, to = -1;
    uint32_t out = 0;
    flow_mods++;
    if (m[25] != 0) { /* not OFPFC_ADD */
        s->flows -= s->flows > 0;
        return;
    }
    s->flows++;
    size_t end = 48 + get16(m + 50);
    for (size_t at = 52; at + 4 <= end; at += 4 + m[at + 3]) {
        if (get16(m + at) != 0x8000)
            continue;
        if (m[at + 2] == 3 << 1)
            to = host_of(s, m + at + 4);
        if (m[at + 2] == 4 << 1)
            from = host_of(s, m + at + 4);
    }
    size_t at = 48 + (get16(m + 50) + 7) / 8 * 8;
    int is_applied = at + 8 <= length && get16(m + at) == 4;
    size_t last = is_applied ? at + get16(m + at + 2) : 0;
    for (at += 8; at + 16 <= last && last <= length && get16(m + at + 2) >= 8;
         at += get16(m + at + 2))
        if (get16(m + at) == 0) /* OFPAT_OUTPUT */
            out = get32(m + at + 4);
    if (to < 0 || (is_pairs && from < 0) || out == 0 || out > (uint32_t)hosts)
        return;
    if (out != port_of(to)) {
        wrong++;
        return;
    }
    if (is_pairs && !s->has_flow[from * hosts + to]) {
        s->has_flow[from * hosts + to] = 1;
        s->known++;
        if (s->asked[from] && s->target[from] == to) {
            done(s, from);
            next_pair(s, from);
        }
    }
    if (is_hosts && !s->is_known[to]) {
        s->is_known[to] = 1;
        s->known++;
        done(s, to);
        next_host(s);
    }
}

static void refuse(struct at_switch *s, const uint8_t *m, uint32_t xid)
{
    uint8_t *at = message(s, ERROR, xid, 4 + 24);
    put16(at, 5); /* OFPET_FLOW_MOD_FAILED */
    put16(at + 2, 1); /* OFPFMFC_TABLE_FULL */
    memcpy(at + 4, m, 24);
}

static void experimenter(struct at_switch *s, const uint8_t *m, size_t length,
                         uint32_t xid)
{
    if (length < 24 || get32(m + 8) != 0x4f4e4600)
        return;
    if (get32(m + 12) == 2301 && length >= 24 + 56 && m[25] == FLOW_MOD) {
        flow_mod(s, m + 24, get16(m + 26));
        return;
    }
    if (get32(m + 12) != 2300)
        return;
    uint16_t step = get16(m + 20);
    if (step == 4 && is_full) {
        s->has_refused = 1;
        refuse(s, m, xid);
        return;
    }
    uint8_t *at = message(s, EXPERIMENTER, xid, 16);
    memcpy(at, m + 8, 16);
    put16(at + 12, step + 1);
}

static void ports(struct at_switch *s, uint32_t xid)
{
    uint8_t *at = message(s, MULTIPART_REPLY, xid, 8 + 64 * hosts);
    put16(at, 13);
    at += 8;
    for (int port = 1; port <= hosts; port++, at += 64) {
        put32(at, port);
        at[8] = 0xee;
        at[11] = s->number;
        put16(at + 12, port);
        snprintf((char *)at + 16, 16, "p%d", port);
    }
}

static void multipart(struct at_switch *s, const uint8_t *m, uint32_t xid)
{
    static const int sizes[] = {1056, 0, 24, 0, 0, 0, 0, 0, 40, 0, 0, 16};
    unsigned kind = get16(m + 8);
    if (kind == 1 && s->has_refused)
        return;
    if (kind == 13) {
        ports(s, xid);
        return;
    }
    uint8_t *at = message(s, MULTIPART_REPLY, xid, 8 + (kind < 12 ? sizes[kind] : 0));
    put16(at, kind);
    if (kind == 2)
        put32(at + 8 + 16, s->flows);
}

static void take(struct at_switch *s, const uint8_t *m, size_t length)
{
    uint32_t xid = get32(m + 4);
    uint8_t *at;
    switch (m[1]) {
    case FEATURES_REQUEST:
        at = message(s, FEATURES_REPLY, xid, 24);
        put32(at + 4, s->number);
        put32(at + 8, has_buffers ? HOSTS_MAX : 0);
        at[12] = 254;
        put32(at + 16, 0x4f);
        break;
    case ECHO_REQUEST:
        at = message(s, ECHO_REPLY, xid, length - 8);
        memcpy(at, m + 8, length - 8);
        break;
    case GET_CONFIG_REQUEST:
        put16(message(s, GET_CONFIG_REPLY, xid, 4) + 2, 0xffff);
        break;
    case ROLE_REQUEST:
        memcpy(message(s, ROLE_REPLY, xid, 16), m + 8, 16);
        break;
    case MULTIPART_REQUEST:
        multipart(s, m, xid);
        break;
    case BARRIER_REQUEST:
        message(s, BARRIER_REPLY, xid, 0);
        break;
    case PACKET_OUT:
        packet_out(s, m, length);
        break;
    case FLOW_MOD:
        flow_mod(s, m, length);
        break;
    case EXPERIMENTER:
        experimenter(s, m, length, xid);
        break;
    case ECHO_REPLY:
        s->is_ready = 1;
        break;
    }
}

static void receive(struct at_switch *s)
{
    uint8_t *at = room(&s->in, 1 << 17);
    ssize_t got = recv(s->fd, at, 1 << 17, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return;
    if (got <= 0)
        fail("the controller has closed a channel");
    s->in.length += got;
    heard = now();
    for (;;) {
        const uint8_t *m = s->in.octets + s->in.start;
        size_t left = s->in.length - s->in.start;
        if (left < 8 || left < get16(m + 2))
            break;
        if (get16(m + 2) < 8)
            fail("the controller sends no OpenFlow");
        s->in.start += get16(m + 2);
        take(s, m, get16(m + 2));
    }
    if (s->in.start == s->in.length)
        s->in.start = s->in.length = 0;
    flush(s);
}

/* --- running ----------------------------------------------------------------------- */

static void turn(int milliseconds)
{
    struct pollfd polls[SWITCHES_MAX];
    for (int i = 0; i < switch_count; i++) {
        struct at_switch *s = &switches[i];
        polls[i].fd = s->fd;
        polls[i].events = POLLIN | (s->out.start < s->out.length ? POLLOUT : 0);
    }
    if (poll(polls, switch_count, milliseconds) < 0)
        fail("poll");
    for (int i = 0; i < switch_count; i++) {
        if (polls[i].revents & POLLOUT)
            flush(&switches[i]);
        if (polls[i].revents & (POLLIN | POLLHUP | POLLERR))
            receive(&switches[i]);
    }
}

static void connect_one(struct at_switch *s, const char *place)
{
    int one = 1;
    struct sockaddr_in tcp = {.sin_family = AF_INET, .sin_port = htons(atoi(place)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    int is_path = *place == '/';
    strncpy(local.sun_path, place, sizeof local.sun_path - 1);
    s->fd = socket(is_path ? AF_UNIX : AF_INET, SOCK_STREAM, 0);
    if (connect(s->fd, is_path ? (void *)&local : (void *)&tcp,
                is_path ? sizeof local : sizeof tcp) < 0)
        fail("nobody listens there");
    if (!is_path)
        setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(s->fd, F_SETFL, O_NONBLOCK);
    message(s, HELLO, 1, 0);
    message(s, ECHO_REQUEST, 2, 0);
    flush(s);
}

/* All are through the handshake: each answers an echo that was sent after it. */
static void shake_hands(void)
{
    double until = now() + PATIENCE;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < switch_count; i++)
            while (!switches[i].is_ready) {
                if (now() > until)
                    fail("no handshake");
                turn(10);
            }
        for (int i = 0; i < switch_count; i++) {
            switches[i].is_ready = round;
            if (!round) {
                message(&switches[i], ECHO_REQUEST, 3, 0);
                flush(&switches[i]);
            }
        }
    }
}

/* Until the controllers have nothing more to say. */
static void drain(void)
{
    for (heard = now(); now() < heard + SETTLES;)
        turn(10);
}

/* Every host is announced, and every host has been answered for once. */
static void settle(void)
{
    double until = now() + PATIENCE, again = 0;
    for (int open = 1; open;) {
        if (now() > until)
            fail("some questions were never answered");
        open = 0;
        int is_time = again == 0 || now() > (heard > again ? heard : again) + AGAIN;
        for (int i = 0; i < switch_count; i++) {
            struct at_switch *s = &switches[i];
            open |= s->known < hosts;
            if (!is_time)
                continue;
            for (int host = 0; host < hosts; host++) {
                int target = (host + 1) % hosts;
                if (!s->is_known[target] && again)
                    ask(s, host, target);
                else if (!s->is_known[target])
                    announce(s, host);
            }
            flush(s);
        }
        if (is_time)
            again = now();
        turn(10);
    }
    drain();
    for (int i = 0; i < switch_count; i++)
        memset(switches[i].asked, 0, sizeof switches[i].asked);
}

/* What was not answered in time is asked again, by the same host. */
static void ask_again(void)
{
    static double looked;
    double time = now();
    if (time < looked + LOST / 2)
        return;
    looked = time;
    for (int i = 0; i < switch_count; i++) {
        struct at_switch *s = &switches[i];
        for (int host = 0; host < hosts; host++) {
            if (s->asked[host] == 0 || time < s->asked[host] + LOST)
                continue;
            lost++;
            s->again[host]++;
            if (is_pairs || is_hosts)
                first_packet(s, host, s->target[host]);
            else
                ask(s, host, s->target[host]);
        }
        flush(s);
    }
}

static double measure_arp(double seconds)
{
    wrong = unmatched = 0;
    is_measuring = 1;
    double began = now();
    for (int i = 0; i < switch_count; i++) {
        for (int slot = 0; slot < window; slot++)
            next_question(&switches[i], slot);
        flush(&switches[i]);
    }
    while (now() < began + seconds) {
        turn(10);
        ask_again();
    }
    return now() - began;
}

static double measure_flows(void)
{
    int wanted = is_pairs ? hosts * (hosts - 1) : hosts;
    if (is_pairs)
        for (int i = 0; i < switch_count; i++) {
            for (int host = 0; host < hosts; host++)
                announce(&switches[i], host);
            flush(&switches[i]);
        }
    drain();
    is_measuring = 1;
    flow_mods = 0;
    double began = now(), until = began + PATIENCE;
    for (int i = 0; i < switch_count; i++) {
        for (int slot = 0; slot < window; slot++)
            is_pairs ? next_pair(&switches[i], slot) : next_host(&switches[i]);
        flush(&switches[i]);
    }
    for (int open = 1; open;) {
        turn(10);
        ask_again();
        open = 0;
        for (int i = 0; i < switch_count; i++)
            open |= switches[i].known < wanted;
        if (now() > until)
            fail("some flows never came");
    }
    return now() - began;
}

static int by_value(const void *one, const void *other)
{
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

static double percentile(double part)
{
    if (!sample_count)
        return 0;
    size_t at = part * (sample_count - 1);
    return samples[at] / 1e3;
}

int main(int argc, char **argv)
{
    if (argc < 9) {
        fprintf(stderr, "usage: see the head of switches.c\n");
        return 2;
    }
    is_pairs = !strcmp(argv[2], "pairs");
    is_hosts = !strcmp(argv[2], "hosts");
    is_flood = !strcmp(argv[3], "flood");
    has_buffers = !strcmp(argv[3], "buffer");
    switch_count = atoi(argv[4]);
    hosts = atoi(argv[5]);
    window = atoi(argv[6]);
    cookie = strtoull(argv[8], NULL, 16);
    for (int i = 9; i < argc; i++) {
        is_full |= !strcmp(argv[i], "full");
        vlan = atoi(argv[i]) ? atoi(argv[i]) : vlan;
    }
    if (switch_count < 1 || switch_count > SWITCHES_MAX || hosts < 2 ||
        hosts > HOSTS_MAX || window < 1 || hosts % window)
        fail("as many are not possible");
    for (int i = 0; i < switch_count; i++) {
        switches[i].number = i + 1;
        switches[i].has_flow = calloc(hosts, hosts);
        connect_one(&switches[i], argv[1]);
    }
    shake_hands();
    if (!is_pairs && !is_hosts)
        settle();
    double took = is_pairs || is_hosts ? measure_flows() : measure_arp(atof(argv[7]));
    qsort(samples, sample_count, sizeof *samples, by_value);
    printf("{\"answers\": %llu, \"seconds\": %.6f, \"wrong\": %llu, "
           "\"unmatched\": %llu, \"lost\": %llu, \"flow_mods\": %llu, \"p50\": %.1f, \"p99\": %.1f, "
           "\"max\": %.1f}\n",
           (unsigned long long)answered, took, (unsigned long long)wrong,
           (unsigned long long)unmatched, (unsigned long long)lost,
           (unsigned long long)flow_mods,
           percentile(0.5), percentile(0.99), percentile(1));
    return 0;
}
