#!/bin/sh
# Prints a Secret with a fresh certificate of its own CA, for trying things out: tls.crt, tls.key and ca.crt.
#   sh examples/make-secret.sh NAME HOST > FOLDER/secret.yaml
# With a directory as a third argument, the three files are kept there too, for clients and servers outside the mesh.
set -eu
name=${1:?the name of the Secret} host=${2:?the host that the certificate is for}
keep=${3:-}
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=test CA of $host" \
  -keyout ca.key -out ca.crt 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$host" -keyout tls.key -out tls.csr 2>/dev/null
printf 'subjectAltName=DNS:%s\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n' "$host" > extensions
openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile extensions -out tls.crt 2>/dev/null
if [ -n "$keep" ]; then cp tls.crt tls.key ca.crt "$keep"; fi
cat <<YAML
apiVersion: v1
kind: Secret
metadata: {name: $name, namespace: default}
type: kubernetes.io/tls
data:
  tls.crt: $(base64 -w0 < tls.crt)
  tls.key: $(base64 -w0 < tls.key)
  ca.crt: $(base64 -w0 < ca.crt)
YAML
