"""Names that `vulture` cannot see in use, and who uses them. What stands in no group here is dead and goes."""

# Alembic looks for these in a migration.
upgrade, downgrade, revision, down_revision, branch_labels, depends_on

# pydantic-settings looks for these in a settings class.
_.model_config, _.settings_customise_sources, _.get_field_value

# Python itself: a context manager's arguments, the cause of an exception, what `mapping[key] = value` calls.
traceback
_.__cause__, _.__setitem__

# psycopg2 looks for these on a connection or cursor; http.server on a handler or server.
_.autocommit, _.itersize
_.do_GET, _.log_message, _.daemon_threads

# Faust calls or reads these on what we put in the place of its own.
_._new_transport, _._new_consumer_thread, _._create_worker_consumer, _._drain_messages
_._rebalance_listener, _._assignor
_.seek_to_committed, _.wait_empty, _.force_commit, _.verify_all_partitions_active, _._create_directories
_.enable_kafka_producer, _.enable_web
ReadingApp

# Named in annotations that stand in quotes.
ChannelT, Conductor, Service, Stream

# Fields that others read: in messages on Kafka, in a command's JSON.
_.truncated, _.first_seen, _.unchecked, _.distributed, _.mended_by

# A parameter of a query.
_.critical
RewardEntry

# Fields of what the API answers; how FastAPI is told to make its document.
_.receipt_seq, _.completed_sessions, _.acknowledged_by, _.key_base64, _.value_base64, _.applied_at
_.openapi

# What only tests may do to a server of their own: lose a node, forgo safety for speed.
_.stop_node
SPEED_OVER_SAFETY

# How tests drive the oracle.
_.apply

# Rich looks for this on a column of a progress bar.
_.render

# Read by the console's templates, or by Jinja itself.
_.y, _.height, _.pieces, _.finished_at
_.filters, _.globals
