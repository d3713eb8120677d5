-- Two databases and their roles: the log, which the sidecar writes, and the verdicts, which the verifier writes.
-- Neither can connect to the other's. Once, as PostgreSQL's superuser:
--
--     sudo -u postgres env WEIGHTWARDEN_SECRETS=/etc/postgresql/weightwarden psql --no-psqlrc --file databases.sql
--
-- The folder holds the roles' passwords, each in a file that PostgreSQL's user alone can read (mode 0400):
-- log-password and verdicts-password, such as `openssl rand -hex 32` makes them. The sidecar and the verifier have them
-- in files of libpq's own form, mode 0600, which the database's URL names (?passfile=F):
-- host:port:database:role:password.
--
-- From other hosts the server must be reachable: listen_addresses and TLS in postgresql.conf, and in pg_hba.conf,
-- before the lines that are there, each role from its own host alone:
--
--     hostssl  weightwarden_log       weightwarden_log       10.0.1.1/32  scram-sha-256
--     hostssl  weightwarden_verdicts  weightwarden_verdicts  10.0.1.3/32  scram-sha-256

\set ON_ERROR_STOP on
\set log_password `cat "$WEIGHTWARDEN_SECRETS/log-password"`
\set verdicts_password `cat "$WEIGHTWARDEN_SECRETS/verdicts-password"`
\set complete `cd "$WEIGHTWARDEN_SECRETS" && test -s log-password && test -s verdicts-password && echo 1 || echo 0`

\if :complete
\else
DO $$ BEGIN RAISE 'WEIGHTWARDEN_SECRETS: the folder holds no log-password, or no verdicts-password'; END $$;
\endif

-- No token leaves before it is on disk: that takes a server that really writes.
DO $$ BEGIN
    IF current_setting('fsync') <> 'on' OR current_setting('full_page_writes') <> 'on' THEN
        RAISE 'fsync and full_page_writes must be on, or a power cut loses answers that clients have';
    END IF;
END $$;

-- Passwords stay out of the server's log, and leave a hash that is salted.
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';
SET password_encryption = 'scram-sha-256';

CREATE ROLE weightwarden_log LOGIN PASSWORD :'log_password';
CREATE ROLE weightwarden_verdicts LOGIN PASSWORD :'verdicts_password';

CREATE DATABASE weightwarden_log OWNER weightwarden_log TEMPLATE template0 ENCODING 'UTF8';
CREATE DATABASE weightwarden_verdicts OWNER weightwarden_verdicts TEMPLATE template0 ENCODING 'UTF8';

-- Everybody may connect to a new database unless that is taken back; owners keep their right.
REVOKE ALL ON DATABASE weightwarden_log FROM PUBLIC;
REVOKE ALL ON DATABASE weightwarden_verdicts FROM PUBLIC;

ALTER DATABASE weightwarden_log SET synchronous_commit = on;
ALTER DATABASE weightwarden_verdicts SET synchronous_commit = on;
