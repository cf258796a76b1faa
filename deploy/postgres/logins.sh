#!/bin/sh
# Runs once, on an empty data folder: who logs in for the worker and the API, and with which role and nothing more.
set -eu
psql --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set=worker_password="$WORKER_PASSWORD" --set=api_password="$API_PASSWORD" <<'SQL'
CREATE ROLE laurels_worker NOLOGIN;
CREATE ROLE laurels_api NOLOGIN;
CREATE USER worker PASSWORD :'worker_password' IN ROLE laurels_worker;
CREATE USER api PASSWORD :'api_password' IN ROLE laurels_api;
SQL
