/* Puts secrets of /mnt/running where a program's kernel keeps them, and stays: keys of the key retention service, keys of
 * kernel TLS and of WireGuard's device wg0, text typed into a terminal that nobody reads, vector registers. Built static by the test that uses it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/wireguard.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { USER_KEYRING = -4, ULP = 31, TLS = 282, TLS_TX = 1, AES_GCM_128 = 51 };

struct tls_keys {
    unsigned short version, cipher;
    unsigned char iv[8], key[16], salt[4], sequence[8];
};

static void check(int good, const char *what)
{
    if (!good) {
        perror(what);
        exit(1);
    }
}

static void load(const char *name, void *to, size_t len)
{
    char path[64];
    snprintf(path, sizeof path, "/mnt/running/%s", name);
    int file = open(path, O_RDONLY);
    check(file >= 0 && read(file, to, len) == (ssize_t)len, path);
    close(file);
}

static void add_key(const char *type, const char *name, const char *file)
{
    unsigned char payload[48];
    load(file, payload, sizeof payload);
    check(syscall(SYS_add_key, type, name, payload, sizeof payload, USER_KEYRING) > 0, type);
    explicit_bzero(payload, sizeof payload);
}

/* The socket is not closed: it lives as long as the program. */
static void tls(void)
{
    struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(4433), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct tls_keys keys = { .version = 0x0303, .cipher = AES_GCM_128 };
    int server = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    load("tls", keys.key, sizeof keys.key);
    check(bind(server, (void *)&here, sizeof here) == 0 && listen(server, 1) == 0, "listen");
    check(connect(client, (void *)&here, sizeof here) == 0 && accept(server, 0, 0) >= 0, "connect");
    check(setsockopt(client, IPPROTO_TCP, ULP, "tls", sizeof "tls") == 0, "TLS");
    check(setsockopt(client, TLS, TLS_TX, &keys, sizeof keys) == 0, "keys of TLS");
    explicit_bzero(&keys, sizeof keys);
}

struct request {
    struct nlmsghdr head;
    struct genlmsghdr generic;
    unsigned char attributes[512];
};

static struct request request_of(int family, int command)
{
    return (struct request){
        .head = { .nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN), .nlmsg_type = family, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
        .generic = { .cmd = command, .version = 1 },
    };
}

static struct nlattr *put(struct request *request, int type, const void *payload, int len)
{
    struct nlattr *attribute = (void *)((char *)request + request->head.nlmsg_len);
    attribute->nla_type = type;
    attribute->nla_len = NLA_HDRLEN + len;
    memcpy(attribute + 1, payload, len);
    request->head.nlmsg_len += NLA_ALIGN(attribute->nla_len);
    return attribute;
}

/* What was put since is inside of the attribute. */
static void close_nested(struct request *request, struct nlattr *attribute)
{
    attribute->nla_len = (char *)request + request->head.nlmsg_len - (char *)attribute;
}

/* The family's number, or of another command its status. */
static int ask(struct request *request, const char *what)
{
    struct request answer;
    int family = 0, peer = socket(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC);
    check(peer >= 0 && send(peer, request, request->head.nlmsg_len, 0) == request->head.nlmsg_len, what);
    do {
        int len = recv(peer, &answer, sizeof answer, 0), at = 0;
        check(len > 0, what);
        while (answer.head.nlmsg_type == GENL_ID_CTRL && at < (int)sizeof answer.attributes) {
            struct nlattr *attribute = (void *)(answer.attributes + at);
            if (attribute->nla_type == CTRL_ATTR_FAMILY_ID)
                family = *(unsigned short *)(attribute + 1);
            if (family || attribute->nla_len < NLA_HDRLEN)
                break;
            at += NLA_ALIGN(attribute->nla_len);
        }
    } while (answer.head.nlmsg_type != NLMSG_ERROR);
    errno = -((struct nlmsgerr *)((char *)&answer + NLMSG_HDRLEN))->error;
    check(errno == 0, what);
    close(peer);
    return family;
}

/* A peer that no packet is sent to. */
static void wireguard(void)
{
    unsigned char own[32], preshared[32], public[32] = { 9 };
    struct request find = request_of(GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
    put(&find, CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME, sizeof WG_GENL_NAME);
    struct request set = request_of(ask(&find, "family of WireGuard"), WG_CMD_SET_DEVICE);
    load("private", own, sizeof own);
    load("preshared", preshared, sizeof preshared);
    put(&set, WGDEVICE_A_IFNAME, "wg0", sizeof "wg0");
    put(&set, WGDEVICE_A_PRIVATE_KEY, own, sizeof own);
    struct nlattr *peers = put(&set, WGDEVICE_A_PEERS | NLA_F_NESTED, "", 0);
    struct nlattr *peer = put(&set, NLA_F_NESTED, "", 0);
    put(&set, WGPEER_A_PUBLIC_KEY, public, sizeof public);
    put(&set, WGPEER_A_PRESHARED_KEY, preshared, sizeof preshared);
    close_nested(&set, peer);
    close_nested(&set, peers);
    ask(&set, "keys of WireGuard");
    explicit_bzero(own, sizeof own);
    explicit_bzero(preshared, sizeof preshared);
    explicit_bzero(&set, sizeof set);
}

static void type_text(void)
{
    char text[48], name[32];
    int number, unlocked = 0, terminal = open("/dev/ptmx", O_RDWR | O_NOCTTY);
    check(terminal >= 0 && ioctl(terminal, TIOCSPTLCK, &unlocked) == 0, "terminal");
    check(ioctl(terminal, TIOCGPTN, &number) == 0, "number of the terminal");
    snprintf(name, sizeof name, "/dev/pts/%d", number);
    check(open(name, O_RDWR | O_NOCTTY) >= 0, name);
    load("tty", text, sizeof text);
    check(write(terminal, text, sizeof text) == sizeof text, "typing");
    explicit_bzero(text, sizeof text);
}

int main(void)
{
    unsigned char vector[32];
    add_key("user", "lab-user", "user");
    add_key("logon", "lab:logon", "logon");
    tls();
    wireguard();
    type_text();
    load("vector", vector, sizeof vector);
    puts("LAB: keys are held");
    fflush(stdout);
    /* Nothing touches the registers before the program sleeps for ever. */
    __asm__ volatile("movdqu (%0), %%xmm7\n"
                     "movdqu 16(%0), %%xmm8\n"
                     "pxor %%xmm0, %%xmm0\n"
                     "movdqu %%xmm0, (%0)\n"
                     "movdqu %%xmm0, 16(%0)\n"
                     "1: mov %1, %%eax\n"
                     "syscall\n"
                     "jmp 1b\n" ::"r"(vector),
                     "i"(SYS_pause)
                     : "rax", "rcx", "r11", "memory", "xmm0", "xmm7", "xmm8");
}
