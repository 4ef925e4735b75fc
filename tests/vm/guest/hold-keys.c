/* Puts secrets of /mnt/running where a program's kernel keeps them, and stays: keys of the key retention service, keys of
 * kernel TLS, text typed into a terminal that nobody reads, vector registers. Built static by the test that uses it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
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
