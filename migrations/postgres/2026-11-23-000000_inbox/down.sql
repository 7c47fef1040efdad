DROP TABLE transfers, backlog_gate, probe, status_counts, attempts, finished_jobs, jobs, webhooks;
