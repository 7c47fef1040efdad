DROP TABLE probe;
DROP TABLE status_counts;
DROP TABLE attempts;
DROP TABLE jobs;
DROP TABLE idempotency_keys;
DROP TABLE webhooks;
