#!/bin/sh
# Makes a test CA, a server certificate (localhost, 127.0.0.1, ::1) and a client certificate in certs/out.
# What is there and still valid for a day is left alone; `--force` makes everything anew. Never use these in production.
set -eu

cd "$(dirname "$0")"
umask 077
out=out
days=825
[ "${1:-}" = --force ] && rm -rf "$out"
mkdir -p "$out"

# usable NAME: its key exists and its certificate is valid for another day and signed by our CA.
usable() {
    [ -s "$out/$1.key" ] && [ -s "$out/$1.pem" ] &&
        openssl x509 -in "$out/$1.pem" -noout -checkend 86400 >/dev/null 2>&1 &&
        openssl verify -CAfile "$out/ca.pem" "$out/$1.pem" >/dev/null 2>&1
}

new_key() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$out/$1.key" 2>/dev/null
}

make_ca() {
    new_key ca
    openssl req -x509 -new -sha256 -key "$out/ca.key" -days "$days" -subj "/O=Waystation test/CN=Waystation test CA" \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" -out "$out/ca.pem"
}

# make_leaf NAME CN EXTENSIONS
make_leaf() {
    new_key "$1"
    openssl req -new -sha256 -key "$out/$1.key" -subj "/O=Waystation test/CN=$2" -out "$out/$1.csr"
    printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n%b' "$3" >"$out/$1.ext"
    openssl x509 -req -sha256 -in "$out/$1.csr" -CA "$out/ca.pem" -CAkey "$out/ca.key" \
        -set_serial "0x$(openssl rand -hex 16 | sed 's/^[89a-f]/1/')" -days "$days" -extfile "$out/$1.ext" \
        -out "$out/$1.pem" 2>/dev/null
    rm -f "$out/$1.csr" "$out/$1.ext"
}

usable ca || make_ca
usable server || make_leaf server localhost \
    'extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\n'
usable client || make_leaf client "${CLIENT_NAME:-guest}" 'extendedKeyUsage=clientAuth\n'

echo "certificates in $(pwd)/$out: ca.pem, server.pem, server.key, client.pem, client.key"
