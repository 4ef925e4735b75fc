#!/usr/bin/env python3
"""Serves the files of a directory on a free port of loopback, until its standard input ends.

serve.py KIND DIRECTORY

ranges  HTTP, a part of a file where one is asked for (RangeHTTPServer)
whole   HTTP, always the whole file (the standard library's server)
tls     as ranges, by TLS with a certificate of its own in DIRECTORY/certificate.pem
front   TLS before a server of loopback: DIRECTORY/server has its port, and from when to when the certificate is valid, in hours from now
s3      S3 (moto): the files are objects of the bucket "dumps"; "save DIRECTORY" on standard input writes all of them there
iam     as s3, with no file in the bucket; who has no policy is refused. Each NAME.policy of DIRECTORY makes a user with that policy,
        NAME.lifecycle are rules of the bucket,
        and a line of standard input is, as JSON, the name of an object to put
bucket  the list and the ranges of an S3 bucket "dumps" whose objects are the files, below it and in memory no copy of them
s3rver  an S3 server (s3rver) that ignores If-None-Match, with an empty bucket "dumps"
az      Azure's store (azurite), likewise

Prints the port, for s3 a presigned URL of each file, for iam "NAME KEY SECRET" of each user; then "ready". A line of standard input is
the name of a file to upload again, which is answered the same way.
"""

import base64
import ctypes
import datetime
import functools
import hashlib
import hmac
import http.server
import ipaddress
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request


def certificate(path, begins=-24, ends=24):
    """Makes a key and a certificate for 127.0.0.1 and store.test in one file, valid for some hours."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.timezone.utc)
    hour = datetime.timedelta(hours=1)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("store.test")]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins * hour)
        .not_valid_after(now + ends * hour)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with open(path, "wb") as file:
        file.write(made.public_bytes(serialization.Encoding.PEM) + private)


def serve_http(kind, directory):
    from RangeHTTPServer import RangeRequestHandler

    whole = http.server.SimpleHTTPRequestHandler
    handler = whole if kind == "whole" else RangeRequestHandler
    if kind == "bucket":
        handler = type("RangeBucket", (Bucket, RangeRequestHandler), {})
    handler.protocol_version = "HTTP/1.1"
    handler.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=directory)
    )
    if kind == "tls":
        path = os.path.join(directory, "certificate.pem")
        certificate(path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)


def serve_front(directory):
    with open(os.path.join(directory, "server")) as file:
        port, begins, ends = map(int, file.read().split())
    path = os.path.join(directory, "certificate.pem")
    certificate(path, begins, ends)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    listener = socket.create_server(("127.0.0.1", 0))

    def carry(source, sink):
        try:
            while piece := source.recv(1 << 16):
                sink.sendall(piece)
        except OSError:
            pass
        for end in source, sink:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def serve(client):
        try:
            client = context.wrap_socket(client, server_side=True)
        except OSError:
            return
        server = socket.create_connection(("127.0.0.1", port))
        threading.Thread(target=carry, args=(client, server), daemon=True).start()
        carry(server, client)

    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    print(listener.getsockname()[1], flush=True)


def moto():
    """Starts moto with a bucket; its port, and what makes clients."""
    import boto3
    from botocore.config import Config
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    client = functools.partial(
        boto3.client,
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(signature_version="s3v4"),
    )
    client("s3").create_bucket(Bucket="dumps")
    return port, client


def serve_iam(directory):
    from moto import settings

    port, client = moto()
    iam = client("iam")
    print(port, flush=True)
    for file in sorted(os.listdir(directory)):
        name, _, kind = file.rpartition(".")
        with open(os.path.join(directory, file)) as text:
            policy = text.read()
        rules = json.loads(policy)
        if kind == "lifecycle":
            client("s3").put_bucket_lifecycle_configuration(Bucket="dumps", LifecycleConfiguration=rules)
        else:
            iam.create_user(UserName=name)
            iam.put_user_policy(UserName=name, PolicyName="dumps", PolicyDocument=policy)
            key = iam.create_access_key(UserName=name)["AccessKey"]
            print(name, key["AccessKeyId"], key["SecretAccessKey"], flush=True)
    # From here on every request needs a signature, and a policy that allows it.
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0

    def put(name):
        settings.INITIAL_NO_AUTH_ACTION_COUNT = float("inf")
        client("s3").put_object(Bucket="dumps", Key=json.loads(name), Body=b"x")
        settings.INITIAL_NO_AUTH_ACTION_COUNT = 0

    return put


def serve_s3(directory):
    port, client = moto()
    client = client("s3")
    print(port, flush=True)

    def upload(name):
        with open(os.path.join(directory, name), "rb") as file:
            client.put_object(Bucket="dumps", Key=name, Body=file.read())

    def save(into):
        """Writes every object, in one file each: slashes of a name become dots."""
        for page in client.get_paginator("list_objects_v2").paginate(Bucket="dumps"):
            for item in page.get("Contents", []):
                body = client.get_object(Bucket="dumps", Key=item["Key"])["Body"].read()
                with open(os.path.join(into, item["Key"].replace("/", "...")), "wb") as file:
                    file.write(body)

    def command(line):
        save(line[5:]) if line.startswith("save ") else upload(line)

    for name in sorted(os.listdir(directory)):
        upload(name)
        wanted = {"Bucket": "dumps", "Key": name}
        print(client.generate_presigned_url("get_object", Params=wanted), flush=True)
    return command


def program(name, *words):
    """Runs a server of tests/vm/program.sh, which ends with this one."""
    top = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
    script = os.path.join(top, "tests/vm/program.sh")
    path = subprocess.check_output([script, name], text=True).strip()
    end = functools.partial(ctypes.CDLL(None).prctl, 1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.Popen([path, *words], preexec_fn=end, stdin=subprocess.DEVNULL, **quiet)


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def asked(method, url, headers, body=None):
    """Sends a request until the server is up."""
    for _ in range(150):
        try:
            return urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method))
        except urllib.error.HTTPError:
            raise
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"{url} does not answer")


# The account that every such emulator has.
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def serve_az(_):
    port = free_port()
    program("azurite", "--blobPort", str(port), "--inMemoryPersistence", "--silent", "--disableTelemetry")
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")
    marks = f"x-ms-date:{date}\nx-ms-version:2021-12-02\n"
    text = "PUT" + "\n" * 12 + marks + f"/{ACCOUNT}/{ACCOUNT}/dumps\nrestype:container"
    sum = hmac.new(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256).digest()
    headers = dict(line.split(":", 1) for line in marks.split("\n") if line)
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(sum).decode()}"
    asked("PUT", f"http://127.0.0.1:{port}/{ACCOUNT}/dumps?restype=container", headers)
    print(port, flush=True)


def serve_s3rver(_):
    port = free_port()
    words = f"-a 127.0.0.1 -p {port} --configure-bucket dumps -s -d".split()
    program("s3rver", *words, tempfile.mkdtemp())
    try:
        asked("GET", f"http://127.0.0.1:{port}/", {})
    except urllib.error.HTTPError:
        pass
    print(port, flush=True)


class Bucket(http.server.SimpleHTTPRequestHandler):
    """ListObjectsV2 in pages, and what RangeHTTPServer makes of the rest."""

    def do_GET(self):
        path, _, query = self.path.partition("?")
        asked = urllib.parse.parse_qs(query, keep_blank_values=True)
        if "list-type" in asked:
            return self.list(asked)
        self.path = "/" + path.removeprefix("/dumps/")
        return super().do_GET()

    def do_HEAD(self):
        self.path = "/" + self.path.partition("?")[0].removeprefix("/dumps/")
        return super().do_HEAD()

    def list(self, asked):
        prefix, after = (asked.get(key, [""])[0] for key in ("prefix", "continuation-token"))
        found = (os.path.relpath(os.path.join(at, name), self.directory) for at, _, names in os.walk(self.directory) for name in names)
        names = sorted(name for name in found if name.startswith(prefix) and name > after)
        size = int(asked.get("max-keys", ["1000"])[0])
        page, more = names[:size], len(names) > size
        parts = ["<?xml version='1.0'?><ListBucketResult><Name>dumps</Name>"]
        for name in page:
            length = os.path.getsize(os.path.join(self.directory, name))
            parts.append(
                f"<Contents><Key>{name}</Key><Size>{length}</Size><ETag>&quot;1&quot;</ETag>"
                "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            )
        parts.append(f"<IsTruncated>{str(more).lower()}</IsTruncated><KeyCount>{len(page)}</KeyCount>")
        if more:
            parts.append(f"<NextContinuationToken>{page[-1]}</NextContinuationToken>")
        body = "".join(parts + ["</ListBucketResult>"]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    kind, directory = sys.argv[1:]
    kinds = {"front": serve_front, "s3": serve_s3, "iam": serve_iam, "az": serve_az, "s3rver": serve_s3rver}
    again = kinds.get(kind, functools.partial(serve_http, kind))(directory)
    print("ready", flush=True)
    for line in sys.stdin:
        again(line.strip())
        print("ready", flush=True)


main()
