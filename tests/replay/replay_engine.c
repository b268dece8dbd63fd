/*
 * An engine that replays: oprel takes it for llama-server, but it computes nothing.
 *
 * usage: replay_engine --host SOCKET [arguments of llama-server, which are ignored]
 *
 * It streams the events that llama-server b11434 sends for the requests of oprel, so that what is measured is the daemon
 * alone. A prompt says how with "REPLAY tokens=N batch=B pace=U": B tokens of each answer are written at once, every U
 * microseconds, or as soon as they can be if U is 0. Like an engine that computes all its slots in one step it goes
 * round: no answer gets its next tokens before the others had theirs. Like llama-server it closes the connection after
 * each streamed answer.
 *
 * One thread and poll(2). Buffers have fixed sizes: a request that is larger ends its connection, and tokens are made
 * only when those before them are written. Requests are searched as text, and must have no blanks around colons.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_CONNECTIONS = 1024,
    MAX_REQUEST = 1 << 17, /* bytes, with its head */
    MAX_BATCH = 32,
    MAX_EVENT = 1024,
    MAX_OUT = (MAX_BATCH + 8) * MAX_EVENT + MAX_REQUEST, /* a batch, or a rendered prompt */
    PROMPT_TOKENS = 20,
};

struct connection {
    int fd; /* -1: closed */
    char request[MAX_REQUEST + 1];
    size_t received;
    char out[MAX_OUT];
    size_t queued, written; /* bytes of `out` */

    /* The answer in progress. */
    const struct form *form; /* NULL: there is none */
    bool logprobs, timings, progress;
    long tokens, sent, batch, pace; /* pace in microseconds */
    long long due;                  /* when the next batch is */
    bool ends;                      /* closed as soon as all is written */
};

static struct connection *connections[MAX_CONNECTIONS];
static int count;

/* ---- The events, as recorded. Each %s is for what only some requests get. ---- */

#define HELP                                                                                                          \
    "--model --host --port --parallel --ctx-size --kv-unified --kv-unified-per-slot --embedding --batch-size "       \
    "--threads --cache-type-k --cache-type-v --version"
#define HEAD                                                                                                          \
    "HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nAccess-Control-Allow-Origin: \r\nX-Accel-Buffering: no\r\n"             \
    "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=5, max=100\r\n\r\n"
#define JSON_HEAD                                                                                                     \
    "HTTP/1.1 %s\r\nServer: llama.cpp\r\nAccess-Control-Allow-Origin: \r\n"                                          \
    "Content-Type: application/json; charset=utf-8\r\nContent-Length: %zu\r\nKeep-Alive: timeout=5, max=100\r\n\r\n"

#define MODEL "\"model\":\"/models/guide.gguf\",\"system_fingerprint\":\"b0-unknown\""
#define ID "\"id\":\"chatcmpl-dPGeGuIHsHpbi7KC4JUd61fy4XaFYHGJ\""
#define CHAT "\"created\":1796056708," ID "," MODEL ",\"object\":\"chat.completion.chunk\""
#define TEXT "\"created\":1796056708," MODEL ",\"object\":\"text_completion\""
#define LOGPROBS "\"logprobs\":{\"content\":[{%s,\"top_probs\":[{%s}]}]}"
#define USAGE                                                                                                         \
    "\"usage\":{\"completion_tokens\":%ld,\"prompt_tokens\":20,\"total_tokens\":%ld,"                                \
    "\"prompt_tokens_details\":{\"cached_tokens\":19}}"
#define PROGRESS ",\"prompt_progress\":{\"total\":20,\"cache\":19,\"processed\":%d,\"time_ms\":0}"
#define TIMINGS                                                                                                       \
    ",\"timings\":{\"cache_n\":19,\"prompt_n\":1,\"prompt_ms\":1.103,\"prompt_per_token_ms\":1.103,"                 \
    "\"prompt_per_second\":906.6183136899366,\"predicted_n\":%ld,\"predicted_ms\":%ld.657,"                          \
    "\"predicted_per_token_ms\":0.657,\"predicted_per_second\":1522.0700152207}"

/* The words of an answer. In an order by chance, so that no guard takes it for one that repeats itself. */
static const struct word {
    const char *text, *entry;
} WORDS[] = {
#define WORD(id, text, bytes) {text, "\"id\":" #id ",\"token\":\"" text "\",\"bytes\":[" bytes "],\"prob\":1.0"}
    WORD(1417, " about", "32,97,98,111,117,116"),
    WORD(1210, " model", "32,109,111,100,101,108"),
    WORD(1308, " harbour", "32,104,97,114,98,111,117,114"),
    WORD(1525, " list", "32,108,105,115,116"),
    WORD(1166, " ship", "32,115,104,105,112"),
    WORD(1731, " under", "32,117,110,100,101,114"),
    WORD(1099, " salt", "32,115,97,108,116"),
    WORD(1842, " grey", "32,103,114,101,121"),
#undef WORD
};

struct form {
    const char *path;
    const char *progress; /* timings, processed tokens */
    const char *opening;  /* or "" */
    const char *token;    /* word, logprobs, timings */
    const char *logprobs, *no_logprobs; /* entry, entry */
    const char *end;   /* or "" */
    const char *usage; /* tokens, all tokens, timings */
};

static const struct form CHATS = {
    .path = "/v1/chat/completions",
    .progress = "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"role\":\"assistant\","
                "\"content\":null}}]," CHAT "%s" PROGRESS "}\n\n",
    .opening = "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"role\":\"assistant\","
               "\"content\":null}}]," CHAT "}\n\n",
    .token = "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\"%s\"}%s}]," CHAT
             "%s}\n\n",
    .logprobs = "," LOGPROBS,
    .no_logprobs = "",
    .end = "data: {\"choices\":[{\"finish_reason\":\"length\",\"index\":0,\"delta\":{}}]," CHAT "}\n\n",
    .usage = "data: {\"choices\":[]," CHAT "," USAGE "%s}\n\n",
};

static const struct form TEXTS = {
    .path = "/v1/completions",
    .progress = "data: {\"choices\":[{\"text\":\"\",\"index\":0,\"logprobs\":null,\"finish_reason\":null}]," TEXT
                "," ID "%s" PROGRESS "}\n\n",
    .opening = "",
    .token = "data: {\"choices\":[{\"text\":\"%s\",\"index\":0,%s,\"finish_reason\":null}]," TEXT "," ID "%s}\n\n",
    .logprobs = LOGPROBS,
    .no_logprobs = "\"logprobs\":null",
    .end = "",
    .usage = "data: {\"choices\":[{\"text\":\"\",\"index\":0,\"logprobs\":null,\"finish_reason\":\"length\"}]," TEXT
             "," USAGE "," ID "%s}\n\n",
};

/* ---- Answers ---- */

static long long now(void) { /* microseconds */
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000LL + time.tv_nsec / 1000;
}

static void add(struct connection *c, const char *text, size_t length) {
    if (length > sizeof c->out - c->queued) {
        fprintf(stderr, "an answer is larger than its buffer\n");
        exit(1);
    }
    memcpy(c->out + c->queued, text, length);
    c->queued += length;
}

static void add_chunk(struct connection *c, const char *text) {
    char size[16];
    size_t length = strlen(text);
    add(c, size, (size_t)snprintf(size, sizeof size, "%zx\r\n", length));
    add(c, text, length);
    add(c, "\r\n", 2);
}

static const char *timings(const struct connection *c) {
    static char text[512];
    snprintf(text, sizeof text, c->timings ? TIMINGS : "", c->sent, c->sent);
    return text;
}

static void add_beginning(struct connection *c) {
    char event[MAX_EVENT];
    add(c, HEAD, strlen(HEAD));
    for (int done = PROMPT_TOKENS - 1; c->progress && done <= PROMPT_TOKENS; done++) {
        snprintf(event, sizeof event, c->form->progress, timings(c), done);
        add_chunk(c, event);
    }
    if (*c->form->opening) add_chunk(c, c->form->opening);
}

static void add_token(struct connection *c) {
    char event[MAX_EVENT], logprobs[512];
    const struct word *word = &WORDS[rand() % (int)(sizeof WORDS / sizeof *WORDS)];
    c->sent++;
    snprintf(logprobs, sizeof logprobs, c->logprobs ? c->form->logprobs : c->form->no_logprobs, word->entry, word->entry);
    snprintf(event, sizeof event, c->form->token, word->text, logprobs, timings(c));
    add_chunk(c, event);
}

static void add_end(struct connection *c) {
    char event[MAX_EVENT];
    if (*c->form->end) add_chunk(c, c->form->end);
    c->timings = true; /* the usage has them always */
    snprintf(event, sizeof event, c->form->usage, c->sent, c->sent + PROMPT_TOKENS, timings(c));
    add_chunk(c, event);
    add_chunk(c, "data: [DONE]\n\n");
    add(c, "0\r\n\r\n", 5);
}

static void answer(struct connection *c, const char *status, const char *body) {
    char head[512];
    add(c, head, (size_t)snprintf(head, sizeof head, JSON_HEAD, status, strlen(body)));
    add(c, body, strlen(body));
}

/* All texts of the messages, still in JSON's notation. */
static void answer_template(struct connection *c, const char *body) {
    static char prompt[MAX_REQUEST + 32];
    static const char name[] = "\"content\":\"";
    size_t length = (size_t)sprintf(prompt, "{\"prompt\":\"");
    for (const char *at = body; (at = strstr(at, name));) {
        for (at += strlen(name); *at && *at != '"'; at++) {
            prompt[length++] = *at;
            if (*at == '\\' && at[1]) prompt[length++] = *++at;
        }
    }
    strcpy(prompt + length, "\"}");
    answer(c, "200 OK", prompt);
}

static void begin_stream(struct connection *c, const struct form *form, const char *body) {
    const char *order = strstr(body, "REPLAY ");
    c->form = form;
    c->tokens = 5, c->batch = 1, c->pace = 0, c->sent = 0;
    if (order) sscanf(order, "REPLAY tokens=%ld batch=%ld pace=%ld", &c->tokens, &c->batch, &c->pace);
    if (c->batch < 1 || c->batch > MAX_BATCH) c->batch = MAX_BATCH;
    c->logprobs = strstr(body, "\"logprobs\":true") != NULL;
    c->timings = strstr(body, "\"timings_per_token\":true") != NULL;
    c->progress = strstr(body, "\"return_progress\":true") != NULL;
    c->due = now() + c->pace;
    add_beginning(c);
}

static void respond(struct connection *c, const char *body) {
    char path[64] = "";
    sscanf(c->request, "%*15s %63s", path);
    if (!strcmp(path, CHATS.path))
        begin_stream(c, &CHATS, body);
    else if (!strcmp(path, TEXTS.path))
        begin_stream(c, &TEXTS, body);
    else if (!strcmp(path, "/health"))
        answer(c, "200 OK", "{\"status\":\"ok\"}");
    else if (!strcmp(path, "/apply-template"))
        answer_template(c, body);
    else if (!strcmp(path, "/tokenize"))
        answer(c, "200 OK", strstr(body, "\"with_pieces\":true") ? "{\"tokens\":[{\"id\":1417,\"piece\":\" about\"}]}"
                                                                 : "{\"tokens\":[403,1404]}");
    else
        answer(c, "501 Not Implemented", "{\"error\":{\"code\":501,\"message\":\"this engine only replays\"}}");
}

/* ---- Connections ---- */

static void leave(struct connection *c) {
    close(c->fd);
    c->fd = -1;
}

static void flush(struct connection *c) {
    while (c->written < c->queued) {
        ssize_t sent = send(c->fd, c->out + c->written, c->queued - c->written, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN && errno != EINTR) leave(c);
            return;
        }
        c->written += (size_t)sent;
    }
    c->queued = c->written = 0;
    if (c->ends) leave(c);
}

/* The body of the request if all of it is there, or NULL. */
static const char *complete_body(const struct connection *c) {
    const char *end = strstr(c->request, "\r\n\r\n");
    if (!end) return NULL;
    const char *header = strcasestr(c->request, "\r\ncontent-length:");
    size_t length = header && header < end ? strtoul(header + strlen("\r\ncontent-length:"), NULL, 10) : 0;
    const char *body = end + 4;
    return c->received - (size_t)(body - c->request) >= length ? body : NULL;
}

static void receive(struct connection *c) {
    ssize_t got = recv(c->fd, c->request + c->received, MAX_REQUEST - c->received, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) { /* it left, or its request is too large */
        leave(c);
        return;
    }
    c->received += (size_t)got;
    c->request[c->received] = 0;
    const char *body = complete_body(c);
    if (body) {
        c->received = 0;
        respond(c, body);
        flush(c);
    }
}

static bool is_due(const struct connection *c, long long time) {
    return c->fd >= 0 && c->form && !c->queued && c->due <= time;
}

static void step(struct connection *c) {
    for (long i = 0; i < c->batch && c->sent < c->tokens; i++) add_token(c);
    if (c->sent >= c->tokens) {
        add_end(c);
        c->form = NULL;
        c->ends = true;
    }
    c->due += c->pace;
    flush(c);
}

static void welcome(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *c = count < MAX_CONNECTIONS ? calloc(1, sizeof *c) : NULL;
        if (!c) {
            close(fd);
            continue;
        }
        c->fd = fd;
        connections[count++] = c;
    }
}

static void forget_closed(void) {
    int kept = 0;
    for (int i = 0; i < count; i++) {
        if (connections[i]->fd < 0)
            free(connections[i]);
        else
            connections[kept++] = connections[i];
    }
    count = kept;
}

/* Microseconds until the next step of an answer; -1 if none is in progress. */
static long long until_next(void) {
    long long time = now(), next = -1;
    for (int i = 0; i < count; i++) {
        const struct connection *c = connections[i];
        if (!c->form || c->queued) continue;
        long long wait = c->due > time ? c->due - time : 0;
        if (next < 0 || wait < next) next = wait;
    }
    return next;
}

static void serve(int listener) {
    struct pollfd polled[MAX_CONNECTIONS + 1] = {{.fd = listener, .events = POLLIN}};
    for (;;) {
        int polled_count = count;
        for (int i = 0; i < count; i++) {
            short events = connections[i]->form ? POLLRDHUP : POLLIN;
            if (connections[i]->queued) events |= POLLOUT;
            polled[i + 1] = (struct pollfd){.fd = connections[i]->fd, .events = events};
        }
        long long wait = until_next();
        struct timespec timeout = {wait / 1000000, wait % 1000000 * 1000};
        ppoll(polled, (nfds_t)polled_count + 1, wait < 0 ? NULL : &timeout, NULL);
        if (polled[0].revents) welcome(listener);
        for (int i = 0; i < polled_count; i++) {
            struct connection *c = connections[i];
            if (polled[i + 1].revents & POLLOUT) flush(c);
            if (c->fd >= 0 && polled[i + 1].revents & POLLIN) receive(c);
            if (c->fd >= 0 && polled[i + 1].revents & (POLLRDHUP | POLLHUP | POLLERR)) leave(c);
        }
        long long time = now();
        for (int i = 0; i < count; i++)
            if (is_due(connections[i], time)) step(connections[i]);
        forget_closed();
    }
}

static int listening(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (strlen(path) >= sizeof address.sun_path) {
        fprintf(stderr, "the path of the socket is too long\n");
        exit(1);
    }
    strcpy(address.sun_path, path);
    unlink(path);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, MAX_CONNECTIONS)) {
        perror(path);
        exit(1);
    }
    return listener;
}

int main(int argument_count, char **arguments) {
    const char *host = NULL;
    for (int i = 1; i < argument_count; i++) {
        if (!strcmp(arguments[i], "--help")) return puts(HELP) < 0;
        if (!strcmp(arguments[i], "--version")) return puts("version: 1 (replay)") < 0;
        if (!strcmp(arguments[i], "--host") && i + 1 < argument_count) host = arguments[++i];
    }
    if (!host) {
        fprintf(stderr, "usage: replay_engine --host SOCKET\n");
        return 2;
    }
    int listener = listening(host);
    printf("listening on unix://%s\n", host);
    fflush(stdout);
    serve(listener);
}
