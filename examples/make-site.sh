#!/bin/sh
# Makes the secrets that compose.yaml mounts, in a new folder: sudo PATH="$PATH" examples/make-site.sh logs.example.org/cluster-7
#
# A file's owner and mode are the same inside a container as here: compose mounts it, and can change neither. A key file
# that others may read is refused, so each belongs to the user of the one container that reads it: 10001 is the
# sidecar's, 10002 the verifier's, 999 PostgreSQL's. As another user than root this makes them all the same, and
# leaves their owners to you. Where the engine maps users (rootless podman: `podman unshare chown`), give them to the
# mapped ones.
set -eu
umask 077

origin=${1:?the name of the log, such as logs.example.org/cluster-7}
site=${2:-$(dirname "$0")/site}
mkdir "$site" "$site/secrets" # fails where they are: a key is never overwritten
secrets=$site/secrets

# The sidecar's.
verify log key new "$origin" --out "$secrets/log.key"
sidecar key "$secrets/seed.key"
openssl rand -hex 32 > "$secrets/clients.keys"
openssl rand -hex 32 > "$secrets/log-password"
echo "postgresql:5432:weightwarden_log:weightwarden_log:$(cat "$secrets/log-password")" > "$secrets/log.pgpass"

# The verifier's.
openssl rand -hex 32 > "$secrets/audit.key"
openssl rand -hex 32 > "$secrets/operators.keys"
openssl rand -hex 32 > "$secrets/prometheus.keys" # which may look, and acknowledge nothing
openssl rand -hex 32 > "$secrets/verdicts-password"
echo "postgresql:5432:weightwarden_verdicts:weightwarden_verdicts:$(cat "$secrets/verdicts-password")" \
    > "$secrets/verdicts.pgpass"

# PostgreSQL's.
openssl rand -hex 32 > "$secrets/postgres-password"

# What is not secret.
mv "$secrets/log.key.pub" "$site/log.key.pub"
chmod 0400 "$secrets"/*
chmod 0444 "$site/log.key.pub"
chmod 0711 "$site" "$secrets"
if [ "$(id -u)" = 0 ]; then
    cd "$secrets"
    chown 10001:10001 log.key seed.key clients.keys log.pgpass
    chown 10002:10002 audit.key operators.keys prometheus.keys verdicts.pgpass
    chown 999:999 log-password verdicts-password postgres-password
fi

cat >&2 <<END
Still to be put there:
  $secrets/tls.key   of the sidecar, mode 0400, owned by 10001; $site/tls.pem: its certificate
  $site/policy.toml  verify calibrate
  $site/served       the model that vLLM serves
  $site/tokenizer    the sidecar's trusted copy of tokenizer.json, config.json, generation_config.json, chat template
  $site/model        the verifier's own copy of the model
END
