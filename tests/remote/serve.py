#!/usr/bin/env python3
"""Serves the files of a directory on a free port of loopback, until its standard input ends.

serve.py KIND DIRECTORY

ranges  HTTP, a part of a file where one is asked for (RangeHTTPServer)
whole   HTTP, always the whole file (the standard library's server)
tls     as ranges, by TLS with a certificate of its own in DIRECTORY/certificate.pem
s3      S3 (moto): the files are objects of the bucket "dumps"

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

    for name in sorted(os.listdir(directory)):
        upload(name)
        wanted = {"Bucket": "dumps", "Key": name}
        print(client.generate_presigned_url("get_object", Params=wanted), flush=True)
    return upload


def main():
    kind, directory = sys.argv[1:]
    again = serve_s3(directory) if kind == "s3" else serve_http(kind, directory)
    print("ready", flush=True)
    for line in sys.stdin:
        again(line.strip())
        print("ready", flush=True)


main()
