#!/bin/sh
# Makes an authority and a certificate for each machine named: certificates.sh FOLDER vehicle=192.168.1.5 computer=192.168.1.6
set -eu
folder=$1; shift; mkdir -p "$folder"; cd "$folder"; umask 077
curve="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc"
[ -e ca.key ] || openssl req -x509 $curve -days 3650 -subj /CN=mirrors -keyout ca.key -out ca.pem
for machine; do
    name=${machine%%=*}
    printf 'subjectAltName=IP:%s\nextendedKeyUsage=serverAuth,clientAuth\n' "${machine#*=}" > "$name.ext"
    openssl req -new $curve -subj "/CN=$name" -keyout "$name.key" -out "$name.csr"
    openssl x509 -req -days 825 -in "$name.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -extfile "$name.ext" -out "$name.pem"
done
