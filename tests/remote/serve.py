#!/usr/bin/env python3
"""Serves the files of a directory on a free port of loopback, until its standard input ends.

serve.py KIND DIRECTORY

ranges  HTTP, a part of a file where one is asked for (RangeHTTPServer)
whole   HTTP, always the whole file (the standard library's server)
tls     as ranges, by TLS with a certificate of its own in DIRECTORY/certificate.pem
s3      S3 (moto): the files are objects of the bucket "dumps"; "save DIRECTORY" on standard input writes all of them there
bucket  the list and the ranges of an S3 bucket "dumps" whose objects are the files, below it and in memory no copy of them

Prints the port, and for s3 a presigned URL of each file; then "ready". A line of standard input is the name of a file
to upload again, which is answered the same way.
"""

import datetime
import functools
import http.server
import ipaddress
import os
import ssl
import sys
import threading
import urllib.parse


def certificate(path):
    """Makes a key and a certificate for 127.0.0.1 in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([loopback]), critical=False)
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


def serve_s3(directory):
    import boto3
    from botocore.config import Config
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(signature_version="s3v4"),
    )
    client.create_bucket(Bucket="dumps")
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
        names = sorted(name for name in os.listdir(self.directory) if name.startswith(prefix) and name > after)
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
    again = serve_s3(directory) if kind == "s3" else serve_http(kind, directory)
    print("ready", flush=True)
    for line in sys.stdin:
        again(line.strip())
        print("ready", flush=True)


main()
