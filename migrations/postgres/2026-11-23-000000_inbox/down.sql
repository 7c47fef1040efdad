DROP TABLE backlog_gate, probe, status_counts, attempts, finished_jobs, jobs, webhooks;
