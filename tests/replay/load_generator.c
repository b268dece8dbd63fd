/*
 * A client that keeps many streams of answers going, and notes when their tokens arrive.
 *
 * usage: load_generator ADDRESS PATH BODY STREAMS REQUESTS MARK STAGGER
 *
 * ADDRESS is unix:SOCKET or IP:PORT. Each of STREAMS connections sends REQUESTS requests with what the file BODY holds,
 * one after the other; "{{N}}" in it becomes the number of the request. An empty file makes them GETs. A token is what
 * follows MARK (as `"content":"`), unless it is a quote, the end of an empty text. The streams begin STAGGER milliseconds
 * one after the other.
 *
 * Prints JSON: `requests`, `failed` (another status than 200, or no end), `tokens`, `seconds` of all together; and in milliseconds
 * `first` and `total` of each request, and `gaps` between tokens of an answer, 0 for those that arrive together.
 *
 * One thread and epoll(7). A connection is kept as long as the server keeps it: if it closes one that was used before
 * without a word of the answer, the request is sent again on a new one, and its time begins then. The end of an answer
 * is that of its chunks or of its Content-Length, or of the connection; if that comes before the others, the request
 * has failed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_BODY = 1 << 22,
    READ_SIZE = 1 << 18,
    TAIL = 128, /* bytes kept of what was read before, in which a mark may have begun */
    SILENCE = 120000, /* milliseconds after which nothing more is expected */
};

#define LAST_CHUNK "\r\n0\r\n\r\n"

struct series {
    double *values;
    size_t count, capacity;
};

struct stream {
    int fd;      /* -1: closed */
    int left;    /* requests, with the one in progress */
    long number; /* of the request in progress */
    bool reused; /* whether the connection had answers before */
    char tail[TAIL];
    size_t tail_length;
    size_t received, expected; /* bytes of the answer; `expected` is 0 if it does not say */
    bool chunked, closes;      /* whether the answer is in chunks, and the last one of its connection */
    double began, last_token;  /* seconds; `last_token` is 0 before the first */
};

static const char *address, *path, *mark;
static size_t mark_length;
static char *body;
static int epoll;
static long begun_requests, failed, tokens;
static struct series first, total, gaps;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void note(struct series *series, double seconds) {
    if (series->count == series->capacity) {
        series->capacity = series->capacity ? 2 * series->capacity : 1024;
        series->values = realloc(series->values, series->capacity * sizeof *series->values);
        if (!series->values) die("realloc");
    }
    series->values[series->count++] = seconds * 1e3;
}

/* ---- Connections ---- */

static int connected(int family, const void *where, socklen_t length) {
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, where, length)) die(address);
    return fd;
}

static int dial(void) {
    if (!strncmp(address, "unix:", 5)) {
        struct sockaddr_un where = {.sun_family = AF_UNIX};
        snprintf(where.sun_path, sizeof where.sun_path, "%s", address + 5);
        return connected(AF_UNIX, &where, sizeof where);
    }
    char host[64];
    int port;
    if (sscanf(address, "%63[^:]:%d", host, &port) != 2) die(address);
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    inet_pton(AF_INET, host, &where.sin_addr);
    int fd = connected(AF_INET, &where, sizeof where), one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void write_all(int fd, const char *data, size_t length) {
    while (length) {
        ssize_t written = send(fd, data, length, MSG_NOSIGNAL);
        if (written < 0 && (errno == EPIPE || errno == ECONNRESET)) return; /* reading tells that it is closed */
        if (written < 0) die("send");
        data += written;
        length -= (size_t)written;
    }
}

/* The request with its number, in a buffer that the next one reuses. */
static const char *request(long number, size_t *length) {
    static char text[MAX_BODY + 1024];
    static char numbered[MAX_BODY + 32];
    const char *place = strstr(body, "{{N}}");
    if (place)
        snprintf(numbered, sizeof numbered, "%.*s%ld%s", (int)(place - body), body, number, place + 5);
    else
        strcpy(numbered, body);
    *length = (size_t)snprintf(text, sizeof text,
                               "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                               "Content-Length: %zu\r\n\r\n%s",
                               *body ? "POST" : "GET", path, strlen(numbered), numbered);
    return text;
}

static void ask(struct stream *s) {
    size_t length;
    const char *text = request(s->number, &length);
    s->reused = s->fd >= 0;
    if (!s->reused) {
        s->fd = dial();
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
        epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &event);
    }
    s->tail_length = s->received = s->expected = 0;
    s->chunked = s->closes = false;
    s->last_token = 0;
    s->began = now();
    write_all(s->fd, text, length);
}

static void begin(struct stream *s) {
    s->number = begun_requests++;
    ask(s);
}

/* ---- Answers ---- */

static void note_token(struct stream *s, double time) {
    if (s->last_token)
        note(&gaps, time - s->last_token);
    else
        note(&first, time - s->began);
    s->last_token = time;
    tokens++;
}

/* What follows the name in the head, or NULL. */
static const char *header(const char *text, const char *end, const char *name) {
    const char *found = strcasestr(text, name);
    return found && found < end ? found + strlen(name) : NULL;
}

static void read_head(struct stream *s, const char *text) {
    if (strncmp(text, "HTTP/1.1 200", 12)) {
        if (!failed++) fprintf(stderr, "%.500s\n", text);
    }
    const char *end = strstr(text, "\r\n\r\n");
    if (!end) return;
    const char *length = header(text, end, "\r\ncontent-length:");
    if (length) s->expected = (size_t)(end + 4 - text) + strtoul(length, NULL, 10);
    s->chunked = header(text, end, "\r\ntransfer-encoding: chunked") != NULL;
    s->closes = header(text, end, "\r\nconnection: close") != NULL;
}

/* Count the tokens in `text`, and keep what may be the beginning of a mark or of the last chunk. */
static void scan(struct stream *s, char *text, size_t length) {
    double time = now();
    char *at = text, *end = text + length, *found;
    while ((found = memmem(at, (size_t)(end - at), mark, mark_length)) && found + mark_length < end) {
        at = found + mark_length;
        if (*at != '"') note_token(s, time);
    }
    s->tail_length = (size_t)(end - at);
    if (s->tail_length > TAIL) s->tail_length = TAIL;
    memcpy(s->tail, end - s->tail_length, s->tail_length);
}

static bool ends(const struct stream *s, const char *text, size_t length) {
    size_t last = strlen(LAST_CHUNK);
    if (s->expected) return s->received >= s->expected;
    return s->chunked && length >= last && !memcmp(text + length - last, LAST_CHUNK, last);
}

static void leave(struct stream *s) {
    close(s->fd);
    s->fd = -1;
}

/* Read what has arrived; true at the end of the answer. */
static bool receive(struct stream *s) {
    static char buffer[TAIL + READ_SIZE + 1];
    memcpy(buffer, s->tail, s->tail_length);
    ssize_t got = read(s->fd, buffer + s->tail_length, READ_SIZE);
    if (got <= 0 && !s->received && s->reused) {
        leave(s);
        ask(s);
        return false;
    }
    if (got <= 0) {
        if (!s->received || s->chunked || s->expected) failed++;
        leave(s);
        return true;
    }
    size_t length = s->tail_length + (size_t)got;
    buffer[length] = 0;
    if (!s->received) read_head(s, buffer);
    s->received += (size_t)got;
    scan(s, buffer, length);
    return ends(s, buffer, length);
}

static void run(struct stream *streams, int count, int stagger) {
    struct epoll_event events[256];
    int busy = count, begun = 0;
    double start = now();
    while (busy) {
        while (begun < count && now() >= start + begun * stagger * 1e-3) begin(&streams[begun++]);
        int ready = epoll_wait(epoll, events, 256, begun < count ? 1 : SILENCE);
        if (ready < 0 || (!ready && begun == count)) die("no more answers");
        for (int i = 0; i < ready; i++) {
            struct stream *s = events[i].data.ptr;
            if (!receive(s)) continue;
            note(&total, now() - s->began);
            bool is_last = !--s->left;
            if ((is_last || s->closes) && s->fd >= 0) leave(s);
            if (is_last)
                busy--;
            else
                begin(s);
        }
    }
}

/* ---- The program ---- */

static void load_body(const char *name) {
    FILE *file = fopen(name, "r");
    if (!file) die(name);
    body = calloc(1, MAX_BODY);
    if (!body) die("calloc");
    if (fread(body, 1, MAX_BODY, file) == MAX_BODY) {
        fprintf(stderr, "%s is too large\n", name);
        exit(1);
    }
    fclose(file);
}

static void print_series(const char *name, const struct series *series) {
    printf(",\"%s\":[", name);
    for (size_t i = 0; i < series->count; i++) printf("%s%.4g", i ? "," : "", series->values[i]);
    putchar(']');
    free(series->values);
}

int main(int argument_count, char **arguments) {
    if (argument_count != 8) {
        fprintf(stderr, "usage: load_generator ADDRESS PATH BODY STREAMS REQUESTS MARK STAGGER\n");
        return 2;
    }
    address = arguments[1], path = arguments[2], mark = arguments[6];
    mark_length = strlen(mark);
    load_body(arguments[3]);
    int count = atoi(arguments[4]), requests = atoi(arguments[5]);
    if (count < 1 || requests < 1 || !mark_length || mark_length >= TAIL) return 2;
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct stream *streams = calloc((size_t)count, sizeof *streams);
    if (!streams) die("calloc");
    for (int i = 0; i < count; i++) streams[i] = (struct stream){.fd = -1, .left = requests};
    double began = now();
    run(streams, count, atoi(arguments[7]));
    printf("{\"requests\":%zu,\"failed\":%ld,\"tokens\":%ld,\"seconds\":%.6f", total.count, failed, tokens, now() - began);
    print_series("first", &first);
    print_series("total", &total);
    print_series("gaps", &gaps);
    puts("}");
    free(streams);
    free(body);
}
